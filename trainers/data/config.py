"""The section of a configuration about what is learned from and what is held out."""

from __future__ import annotations

from dataclasses import dataclass

from capreward.option_types import Flag, Section, Text, TextRow, WholeFromOne, WholeFromZero


@dataclass(frozen=True)
class SourcesConfig(Section):
    """What is learned from and what is held out.

    Attributes:
        train: This names the captions and pictures that the run learns from: ``scenes:train``, shards, a caption file,
            a Karpathy file or ``datasets.json:NAME``.
        images: This names the pictures of ``train``, where they are not in it: a folder, shards, a table or a feature
            store. By default the pictures are taken from ``train`` itself.
        split: This is the split of a Karpathy file to learn from, such as ``train`` or ``train+restval``. By default
            no split is chosen.
        count: The run learns from the first so many items alone, at least 1. By default it learns from all items.
        val: This names the captions and pictures that are held out to judge the run. With null nothing is evaluated.
        val_images: This names the pictures of ``val``. By default they are the pictures of ``train``, where both need
            some.
        val_split: This is the split of a Karpathy file to hold out, such as ``val``. By default no split is chosen.
        val_count: The first so many held-out items are used, at least 1. With null all of them are used.
        id_column: This is the column of a table that names the image of a row. By default it is found by its name.
        caption_column: This is the column of a table that holds the captions; several columns are several captions of
            an image. By default it is found by its name.
        image_column: This is the column of a table that holds the pictures. By default it is found by its name.
        allow_missing: If this is true, captions whose picture is not found are left out. By default they are refused.
        workers: So many processes decode pictures. With 0 the training process decodes them itself.
        broken_limit: The run stops when more samples than this cannot be read.
    """

    train: Text = "scenes:train"
    images: Text | None = None
    split: Text | None = None
    count: WholeFromOne | None = None
    val: Text | None = "scenes:val"
    val_images: Text | None = None
    val_split: Text | None = None
    val_count: WholeFromOne | None = 500
    id_column: Text | None = None
    caption_column: TextRow | None = None
    image_column: Text | None = None
    allow_missing: Flag = False
    workers: WholeFromZero = 0
    broken_limit: WholeFromZero = 100


@dataclass(frozen=True)
class DataConfig(SourcesConfig):
    """What a captioner learns from and what is held out.

    Attributes:
        reward_images: This names the pictures or stored features that rewards and metrics look at, where what the
            captioner looks at does not serve them: a folder, shards or a feature store. By default both look at the
            same pictures.
    """

    reward_images: Text | None = None
