"""The opening of training sets from the name that a user gives."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from capreward.errors import InputError
from trainers.data.dataset import Dataset, without_blanks
from trainers.data.datasets_file import names_set, places_of
from trainers.data.packed_texts import PackedCaptions

TRAIN = 20_000  # pictures of scenes:train where no number is given
HELD_OUT = 1_000  # pictures of scenes:val and scenes:test


def open_dataset(
    source: str,
    *,
    images: str | None = None,
    split: str | None = None,
    count: int | None = None,
    id_column: str | None = None,
    caption_column: str | Sequence[str] | None = None,
    image_column: str | None = None,
    allow_missing: bool = False,
    flags: str = "--{name}",
) -> Dataset:
    """Open pictures and captions for training or evaluation.

    Args:
        source: ``scenes``, ``scenes:SPLIT`` or ``scenes:SPLIT:SEED``; a tar file or a brace pattern of them;
            ``datasets.json:NAME``; a caption file that ``read_references`` reads; or remote shards (``https://...``,
            ``s3://``, ``gs://``, ``pipe:COMMAND``), which are streamed.
        images: The place of the pictures, if they are not with the captions: a folder, tars or a feature store.
        split: The split of a Karpathy file (``train+restval`` joins two) or of scenes.
        count: The number of items to take from the beginning. By default all, and of scenes 20,000 of train and 1,000
            of the others.
        id_column: The id column of a table, if it has no usual name.
        caption_column: The caption column of a table or of JSON members, if it has no usual name.
        image_column: The column of a table that holds picture files.
        allow_missing: Whether items whose picture is missing are left out instead of refused.
        flags: How messages spell the options of columns: ``"--{name}"``, ``"--set data.{key}=NAME"``.

    Raises:
        InputError: The source cannot be used, or does not take an option.
    """
    from capreward.data.images.scene_keys import names_scenes

    if count is not None and count < 1:
        raise InputError(f"count must be 1 or more; found {count}")
    columns = {"id_column": id_column, "caption_column": caption_column, "image_column": image_column}
    if names_scenes(source):
        _refuse_options(source, columns)
        return _open_scenes(source, images, split, count)
    paths, remote = shards_of(source)
    if paths and images is None:
        _refuse_options(source, {"split": split, "id_column": id_column, "image_column": image_column})
        if remote:
            from trainers.data.streams import Stream

            _refuse_options(source, {"count": None if count is None else str(count)})
            return Stream(source, paths, caption_column)
        from trainers.data.shards import open_shards

        return first_items(open_shards(source, paths, caption_column), count)
    if remote:
        raise InputError(f"{source} is remote and holds its own pictures; leave --images out")
    return _open_captions(source, paths, images, split, count, {**columns, "flags": flags}, allow_missing)


def first_items(dataset: Dataset, count: int | None) -> Dataset:
    """Return the first ``count`` items of a set; all of them if ``count`` is None or more than there are."""
    if count is None or count >= len(dataset):
        return dataset
    captions = PackedCaptions.of(dataset.captions(i) for i in range(count))
    return Dataset(dataset.source, dataset.keys[:count], _Pictures(dataset), captions, dataset.notes)


class _Pictures:
    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __getitem__(self, i: int) -> Any:
        return self.dataset.picture(i)


def _refuse_options(source: str, options: dict[str, Any]) -> None:
    """Refuse an option that would silently be ignored."""
    unused = next((name for name, value in options.items() if value is not None), None)
    if unused is not None:
        raise InputError(f"{source} knows no {unused.replace('_', ' ')}; leave --{unused.replace('_', '-')} out")


def shards_of(source: str) -> tuple[list[str], bool]:
    """Return the shards that a source names (none for a caption file), and whether they are remote."""
    from capreward.data.images.shards import names_shards
    from capreward.data.shards import expand_braces, expand_names
    from trainers.data.datasets_file import is_remote

    if names_set(source):
        places = places_of(source)
        remote = is_remote(places[0])
        names = [name for place in places for name in (expand_names(place) if remote else expand_braces(place))]
        return [str(name) for name in names], remote
    if is_remote(source):
        return expand_names(source), True
    return ([str(path) for path in expand_braces(source)] if names_shards(source) else []), False


class SceneItems:
    """The pictures or the captions of consecutive scenes, by number.

    Args:
        split: ``train``, ``val`` or ``test``.
        seed: The seed of the scenes world.
        captions: Whether to give the five captions instead of the picture.
    """

    def __init__(self, split: str, seed: int, *, captions: bool) -> None:
        self.split = split
        self.seed = seed
        self.gives_captions = captions

    def __getitem__(self, i: int) -> Any:
        from capreward.data.scenes import ScenePicture

        picture = ScenePicture(self.split, i, self.seed)
        return picture.scene.captions if self.gives_captions else picture


def _open_scenes(source: str, images: str | None, split: str | None, count: int | None) -> Dataset:
    from capreward.data.images.scene_keys import scene_source
    from capreward.data.scenes import VERSION, scene

    named, seed = scene_source(source)
    if split is not None and named and split != named:
        raise InputError(f"{source} names the split {named} and --split {split}; leave one out")
    if split is not None:
        scene_source(f"scenes:{split}")
    name = named or split or "train"
    number = count or (TRAIN if name == "train" else HELD_OUT)
    keys = [scene(name, i, seed).key for i in range(number)]
    pictures: Any = SceneItems(name, seed, captions=False)
    if images is not None:
        from capreward.data.images.lookup import find_images

        pictures = find_images(images, keys).images
    identity = f"scenes {VERSION} {name} {seed} {number}"
    return Dataset(source, keys, pictures, SceneItems(name, seed, captions=True), (), identity)


def _open_captions(
    source: str,
    paths: Sequence[str],
    images: str | None,
    split: str | None,
    count: int | None,
    columns: dict[str, Any],
    allow_missing: bool,
) -> Dataset:
    """Open a caption file, or the captions of shards, with pictures that are elsewhere."""
    from capreward.data.captions import read_references
    from capreward.data.images.lookup import find_images
    from capreward.data.images.table_of_captions import own_pictures
    from capreward.data.images.tables import names_table

    elsewhere = {"image_column": None} if images is not None and names_table(images) else {}
    references = read_references(list(paths) or source, split=split, **{**columns, **elsewhere})
    if references.aligned:
        raise InputError(
            f"{source} is {references.format} without ids, so that its captions belong to no picture; "
            "give a file with ids, such as CSV with the columns image and caption"
        )
    captioned, notes = without_blanks(references.references, source)
    captions = dict(itertools.islice(captioned.items(), count))
    keys = list(captions)
    image_place = images if images is not None else own_pictures(references, keys, columns["image_column"])
    images_found = find_images(
        image_place,
        keys,
        aliases=references.aliases,
        base=Path(os.path.dirname(source)),
        allow_missing=allow_missing,
        image_column=columns["image_column"],
    )
    available = [i for i, image in enumerate(images_found.images) if image is not None]
    keys = [keys[i] for i in available]
    return Dataset(
        source,
        keys,
        [images_found.images[i] for i in available],
        PackedCaptions.of(captions[key] for key in keys),
        (*map(str, references.reports), *references.notes, *notes, *images_found.notes),
    )
