"""What ``capreward embed`` is given: its options, and the pictures, captions and encoder that they name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.commands.caption_options import ReadingOptions, read_caption_file
from capreward.commands.image_options import ImageOptions, WeightsOptions, image_column_of_captions
from capreward.errors import InputError, shorten

if TYPE_CHECKING:
    from capreward.data import CaptionTable
    from capreward.encoders.encoder import Encoder


@dataclass(frozen=True)
class EmbedOptions(WeightsOptions, ReadingOptions, ImageOptions):
    """These are the arguments and options of ``capreward embed``.

    Attributes:
        output: The features are kept in this folder.
        quick_gelu: True gives the encoder the activation QuickGELU, and False GELU; None leaves it to the weights.
        statistics: The mean and the deviation of the pixels have this name; None leaves them to the weights.
        original: True decodes pictures as the original scripts decode them.
        lora_mlp: True folds the MLP factors of PAC-S++ into the weights as well.
        captions: The images or the captions of this caption file are embedded; None embeds all images.
        text: True embeds the captions themselves.
        prompt: These words stand before every caption; None means the usual words, and ``none`` means no words.
        count: So many pictures or captions are embedded, from the first on; None embeds all of them.
        shard: The text ``I/N`` means that part I of N parts is done, counted from 0.
        part_size: A file of the store holds so many features; None means the usual number.
        half: True keeps features as float16.
        tokens: ``all`` keeps all tokens of the image tower, ``grid`` keeps those of a ResNet's last layer before its
            pooling, and None keeps one feature for each picture.
        side: A picture whose tokens are kept has so many pixels on a side; None means as many as the encoder expects.
        resize: A picture whose tokens are kept becomes square in this way; None means the way of the encoder.
        cropping: A picture whose tokens are kept has the pixels that this library makes; None means the usual library.
        published: True takes ``images`` as a folder of features from elsewhere.
        quiet: True writes nothing to standard error.
    """

    output: Path
    quick_gelu: bool | None
    statistics: str | None
    original: bool
    lora_mlp: bool
    captions: Path | None
    text: bool
    prompt: str | None
    count: int | None
    shard: str
    part_size: int | None
    half: bool
    tokens: str | None
    side: int | None
    resize: str | None
    cropping: str | None
    published: bool
    quiet: bool

    @property
    def given_of_tokens(self) -> list[str]:
        """These options of tokens have a value."""
        values = {"side": self.side, "resize": self.resize, "cropping": self.cropping}
        return [name for name, value in values.items() if value]


def pictures_of(options: EmbedOptions) -> tuple[list[str], list[Any]]:
    """Return the keys and the pictures that are embedded: those of the caption file, or all there are."""
    if options.captions is None:
        return _all_pictures(options)
    from capreward.data.images.lookup import find_images
    from capreward.data.images.table_of_captions import own_pictures

    table = table_of(options.captions, options)
    keys = list(dict.fromkeys(table.keys))[: options.count]
    found = find_images(
        options.images or own_pictures(table, keys, options.image_column),
        keys,
        aliases=table.aliases,
        base=Path(table.source).parent,
        image_column=options.image_column if options.images else None,
        id_column=options.images_id_column if options.images else None,
    )
    if "features" in found.source:
        raise InputError(f"{shorten(list(options.images))} is a feature store already; give the pictures")
    return keys, found.images


def _all_pictures(options: EmbedOptions) -> tuple[list[str], list[Any]]:
    """Return the keys and the pictures of all places, where no two pictures have the same key."""
    from capreward.data.images.inventory import list_pictures

    if not options.images:
        raise InputError("nothing to embed; name a folder of pictures, a .tar, a table or scenes:test")
    columns = {"image_column": options.image_column, "id_column": options.images_id_column}
    found: dict[str, Any] = {}
    for place in options.images:
        for key, picture in zip(*list_pictures(place, options.count, **columns), strict=True):
            if found.setdefault(key, picture) is not picture and found[key].key != picture.key:
                raise InputError(f'two pictures have the key "{key}": {found[key]} and {picture}; embed them apart')
    keys = list(found)[: options.count]
    return keys, [found[key] for key in keys]


def table_of(captions: Path, options: EmbedOptions) -> CaptionTable:
    """Return the captions of the caption file."""
    return read_caption_file(captions, options, image_column=image_column_of_captions(options), paired=options.text)


def encoder_of(options: EmbedOptions, pictures: list[Any]) -> Encoder:
    """Return the encoder that the evaluator would use for these pictures."""
    from capreward.encoders.pool import EncoderPool, EncoderSettings
    from capreward.evaluators.clip_weights import choose_settings, shows_scenes
    from capreward.samples import Samples

    settings = EncoderSettings(
        checkpoint=options.checkpoint or "",
        quick_gelu=options.quick_gelu,
        statistics=options.statistics,
        precision=options.precision,
        device=options.device,
        lora_mlp=options.lora_mlp,
        decode="original" if options.original else "careful",
        batch_size=options.batch_size,
        download=options.download,
    )
    samples = Samples([], images=pictures, item=[])
    scenes = shows_scenes(samples)
    return EncoderPool().encoder(choose_settings(settings, options.family, options.variant, scenes=scenes))


def shard_of(text: str) -> tuple[int, int]:
    """Return the number of the part and the number of all parts that a text such as ``0/4`` names."""
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise InputError(f"--shard {text}: write I/N with I from 0 to N - 1, such as 0/4")
    return int(found[1]), int(found[2])


def prompt_of(words: str | None) -> str:
    """Return what stands before every caption, with the blank that follows it."""
    from capreward.evaluators.clip_texts import PROMPT

    given = PROMPT if words is None else words
    return "" if given in ("", "none") else given if given.endswith(" ") else f"{given} "
