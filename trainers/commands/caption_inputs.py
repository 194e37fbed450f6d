"""The pictures that ``capreward caption`` is given, wherever they are, as one list."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from capreward.errors import InputError, shorten
from trainers.data.dataset import Dataset


def pictures_of(sources: Sequence[str], count: int | None = None) -> Dataset:
    """Return all pictures of files, folders, shards, feature stores and the scenes world, as items without captions.

    The key of a picture file is its name without ending, or its whole path where two files would share a key. Folders,
    shards and stores have keys of their own.

    Args:
        sources: The user names these places of pictures.
        count: So many pictures are taken, from the first on; None takes all of them.

    Raises:
        InputError: A source cannot be read or has no pictures, or two sources share a key.
    """
    files = [source for source in sources if _is_file(source)]
    names = _file_keys(files)
    keys: list[str] = []
    pictures: list[Any] = []
    for source in sources:
        left = None if count is None else count - len(keys)
        if left == 0:
            break
        more = _picture_of_file(source, names) if source in names else _pictures_of_source(source, left)
        keys += more[0]
        pictures += more[1]
    twice = [key for key, often in Counter(keys).items() if often > 1]
    if twice:
        raise InputError(
            f"{len(twice):,} pictures of {shorten(list(sources))} share a key, the first is {twice[0]!r}; caption each "
            "source by itself"
        )
    return Dataset(" and ".join(sources), keys, pictures, _NoCaptions())


def shows_scenes(dataset: Dataset) -> bool:
    """Tell by the keys whether all pictures are of the scenes world."""
    from capreward.data.scenes import picture_of

    return all(picture_of(key) is not None for key in dataset.keys)


class _NoCaptions:
    """The captions of items that have none."""

    def __getitem__(self, i: int) -> tuple[str, ...]:
        return ()


def _is_file(source: str) -> bool:
    """Tell whether a source is one picture file."""
    from capreward.data.images.folder import is_picture_name

    return os.path.isfile(source) and is_picture_name(os.path.basename(source))


def _file_keys(files: Sequence[str]) -> dict[str, str]:
    """Return the key of each picture file."""
    bare = {file: os.path.basename(file).rpartition(".")[0] for file in files}
    often = Counter(bare.values())
    return {file: key if often[key] == 1 else file for file, key in bare.items()}


def _picture_of_file(source: str, names: dict[str, str]) -> tuple[list[str], list[Any]]:
    """Return the key and the picture of one file."""
    from capreward.data.images.pictures import FilePicture

    return [names[source]], [FilePicture(source)]


def _pictures_of_source(source: str, count: int | None) -> tuple[list[str], list[Any]]:
    """Return the keys and the pictures of a folder, shards, a table, a feature store or the scenes world."""
    from capreward.data.images.folder import is_picture_name
    from capreward.data.images.inventory import list_pictures
    from capreward.encoders.store.feature_store import FeatureStore, is_store

    if is_store(source):
        store = FeatureStore(source)
        if store.kind != "image" or not store.keys:
            raise InputError(f"the feature store {source} holds no features of images; name one that does, or pictures")
        keys = store.keys[:count]
        return keys, [store.stored(key) for key in keys]
    if is_picture_name(os.path.basename(source)) and not os.path.exists(source):
        raise InputError(f"there is no picture {source}; name files, folders, shards or scenes:test")
    return list_pictures(source, count)
