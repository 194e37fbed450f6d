"""The items that an evaluator is tuned with, from a configuration: images with captions, or captions alone."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError, shorten
from trainers.data.dataset import Dataset, counted, without_blanks
from trainers.data.loading import open_dataset, shards_of
from trainers.data.packed_texts import PackedCaptions

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainers.tuning.config import PairsConfig
    from trainers.tuning.objective import Objective

NO_IMAGES = "none"  # as --images: captions alone, also of what has images
SCENES = "scenes"
FLAGS = "--set data.{key}=NAME"  # how messages spell the options of columns


@dataclass(frozen=True)
class Items:
    """The items to tune with, or the held-out items.

    Attributes:
        pairs: The N items; their pictures are None if there are only captions.
        has_images: Whether there are pictures or stored features.
        more_captions: Further captions of each item, if the objective takes them.
        more_images: The same items with other pictures, if the objective takes them.
        notes: Notes about what was left out, one sentence each.
    """

    pairs: Dataset
    has_images: bool
    more_captions: Sequence[Sequence[str]] | None = None
    more_images: Dataset | None = None
    notes: tuple[str, ...] = ()

    def captions(self) -> Iterator[str]:
        """Yield all captions, item by item."""
        for i in range(len(self.pairs)):
            yield from self.pairs.captions(i)

    @property
    def stored(self) -> Any:
        """The feature store that replaces pictures, or None."""
        return getattr(self.pairs.picture(0), "store", None) if self.has_images else None


def open_items(data: PairsConfig, objective: Objective, *, held_out: bool = False) -> Items:
    """Open the training or the held-out items, without captions that the objective cannot use.

    Raises:
        InputError: A source cannot be used, nothing of it is left, or further captions or images are missing.
    """
    from trainers.data.streams import Stream

    what = f"{data.val if held_out else data.train}"
    images = (data.val_images or data.images) if held_out else data.images
    split, count = (data.val_split, data.val_count) if held_out else (data.split, data.count)
    alone = images == NO_IMAGES or (
        images is None and data.image_column is None and _has_no_pictures(what, split, data)
    )
    if alone and not objective.learns_from_texts:
        raise InputError(f"the objective {objective.name} needs images, and {what} has none; give --images")
    if alone and not _brings_pictures(what):
        dataset = _open_captions(what, split, count, data)
    else:
        dataset = open_dataset(
            what,
            images=None if alone else images,
            split=split,
            count=count,
            id_column=data.id_column,
            caption_column=data.caption_column,
            image_column=data.image_column,
            allow_missing=data.allow_missing,
            flags=FLAGS,
        )
    if isinstance(dataset, Stream):
        raise InputError(f"{what} is a stream, whose captions cannot be counted beforehand; copy it to this computer")
    pairs = usable_items(dataset, objective, alone=alone)
    if not objective.wants_more:
        return Items(pairs, not alone, notes=pairs.notes)
    captions, pictures = data.more_captions, data.more_images
    if held_out:
        captions, pictures = data.val_more_captions or captions, data.val_more_images or pictures
    return Items(pairs, not alone, _more_captions(captions, pairs), _more_images(pictures, pairs), pairs.notes)


def usable_items(dataset: Dataset, objective: Objective, *, alone: bool) -> Dataset:
    """Return the items with the captions that the objective can use, in memory.

    Raises:
        InputError: No caption can be used.
    """
    rows, usable_captions, left_out = [], [], 0
    for i in range(len(dataset)):
        captions = dataset.captions(i)
        usable = [caption for caption in captions if objective.usable(caption)]
        left_out += len(captions) - len(usable)
        if usable:
            rows.append(i)
            usable_captions.append(usable)
    if not rows:
        raise InputError(
            f"none of the {counted(left_out, 'caption')} of {dataset.source} can be used for {objective.name}"
        )
    notes = list(dataset.notes)
    if left_out:
        notes.append(f"{counted(left_out, 'caption')} of {dataset.source} too short for {objective.name} left out")
    pictures: Any = [None] * len(rows) if alone else SelectedPictures(dataset, rows)
    return Dataset(dataset.source, [dataset.keys[i] for i in rows], pictures, PackedCaptions.of(usable_captions), notes)


class SelectedPictures:
    """The pictures of some items of a set, by their number among these items."""

    def __init__(self, dataset: Dataset, rows: Sequence[int]) -> None:
        self.dataset = dataset
        self.rows = rows

    def __getitem__(self, i: int) -> Any:
        return self.dataset.picture(self.rows[i])


@dataclass(frozen=True)
class RedrawnScene:
    """A scene that is drawn again: the same facts in another picture, which is always the same one."""

    key: str

    @property
    def variant(self) -> int:
        """The number of the picture, above 0."""
        return 1 + zlib.crc32(self.key.encode()) % 1_000_000

    def open(self) -> Image:
        """Draw the picture."""
        from PIL import Image

        return Image.fromarray(_scene(self.key).redraw(self.variant))

    def __str__(self) -> str:
        return f"{self.key}, drawn anew"


class RewordedCaptions(Sequence[Sequence[str]]):
    """The captions of scenes in other words, by number.

    Args:
        keys: The keys of the scenes.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self.keys = keys

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, i: Any) -> Any:
        key = self.keys[i]
        return [_scene(key).caption(number, RedrawnScene(key).variant) for number in range(5)]


def _scene(key: str) -> Any:
    from capreward.data.scenes import picture_of

    picture = picture_of(key)
    if picture is None:
        raise InputError(f"{key} is no scene; name a caption file and images, not {SCENES}, for what is no scene")
    return picture.scene


def _brings_pictures(source: str) -> bool:
    """Return whether a source has its own pictures, as scenes and shards have."""
    from capreward.data.images.scene_keys import names_scenes

    return names_scenes(source) or bool(shards_of(source)[0])


def _has_no_pictures(source: str, split: str | None, data: PairsConfig) -> bool:
    """Return whether a source is a caption file whose ids name no scenes."""
    from capreward.data.scenes import picture_of

    if _brings_pictures(source):
        return False
    first = next(iter(_read_captions(source, split, data).references), "")
    return picture_of(first) is None


def _read_captions(source: str, split: str | None, data: PairsConfig) -> Any:
    from capreward.data.captions import read_references

    return read_references(
        source, split=split, id_column=data.id_column, caption_column=data.caption_column, flags=FLAGS
    )


def _open_captions(source: str, split: str | None, count: int | None, data: PairsConfig) -> Dataset:
    """Open the captions of a file without pictures."""
    references = _read_captions(source, split, data)
    captioned, notes = without_blanks(references.references, source)
    keys = list(captioned)[:count]
    captions = PackedCaptions.of(captioned[key] for key in keys)
    return Dataset(
        source, keys, [None] * len(keys), captions, (*map(str, references.reports), *references.notes, *notes)
    )


def _more_captions(source: str | None, pairs: Dataset) -> Sequence[Sequence[str]] | None:
    if source is None:  # whether it can do without is the objective's to say
        return None
    if source == SCENES:
        _scene(pairs.keys[0])
        return RewordedCaptions(pairs.keys)
    from capreward.data.captions import read_references

    references = read_references(source).references
    lacking = [key for key in pairs.keys if not any(c.strip() for c in references.get(key, ()))]
    if lacking:
        raise InputError(
            f"{source} has no further caption of {counted(len(lacking), 'item')} of {pairs.source}: {shorten(lacking)}"
        )
    return PackedCaptions.of([c for c in references[key] if c.strip()] for key in pairs.keys)


def _more_images(source: str | None, pairs: Dataset) -> Dataset | None:
    if source is None:
        return None
    pictures: Any
    if source == SCENES:
        _scene(pairs.keys[0])
        pictures = [RedrawnScene(key) for key in pairs.keys]
    else:
        from capreward.data.images.lookup import find_images

        pictures = find_images(source, pairs.keys).images
    captions = PackedCaptions.of(pairs.captions(i) for i in range(len(pairs)))
    return Dataset(f"{pairs.source} with images of {source}", pairs.keys, pictures, captions)
