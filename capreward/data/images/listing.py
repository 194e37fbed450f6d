"""All the pictures of a place with a key for each, where no caption file names them."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from capreward.errors import InputError

SCENES = 1000  # pictures of the scenes world, which never ends, where no number is given


def list_pictures(source: str | Path, count: int | None = None) -> tuple[list[str], list[Any]]:
    """List pictures in a fixed order.

    Args:
        source: a folder: keys are file names without ending, with their folders inside it (``train/42``), and with the
            ending where two files differ in it alone; a tar file or brace pattern: keys are the shards' own; or
            ``scenes``, ``scenes:SPLIT``, ``scenes:SPLIT:SEED`` (split ``test`` by default): keys such as
            ``scenes-test-000123``.
        count: the first so many; all by default, and 1,000 of ``scenes``.

    Returns:
        Keys and pictures.

    Raises:
        InputError: a source that cannot be read or has no pictures.
    """
    name = str(source)
    if count is not None and count < 1:
        raise InputError(f"count must be 1 or more; found {count}")
    from capreward.data.images.scene_keys import names_scenes

    pairs = itertools.islice(_pairs(name), SCENES if count is None and names_scenes(name) else count)
    keys, pictures = zip(*pairs, strict=True)
    return list(keys), list(pictures)


def _pairs(source: str) -> Iterator[tuple[str, Any]]:
    from capreward.data.images.folder import PictureFolder
    from capreward.data.images.scene_keys import names_scenes
    from capreward.data.images.shards import ShardIndex, names_shards

    if names_scenes(source):
        return _scenes(source)
    if names_shards(source):
        shards = ShardIndex(source)
        return ((name, shards.picture(name)) for name in shards.names)
    if not os.path.isdir(source):
        wrong = "is a file" if os.path.exists(source) else "does not exist"
        raise InputError(f"{source} {wrong}; give a folder of pictures, a .tar or scenes:test")
    folder = PictureFolder(source)
    bare = [name.rpartition(".")[0] for name in folder.names]
    often = Counter(bare)
    return (
        (short if often[short] == 1 else name, folder.picture(name))
        for short, name in zip(bare, folder.names, strict=True)
    )


def _scenes(source: str) -> Iterator[tuple[str, Any]]:
    from capreward.data.images.scene_keys import scene_source
    from capreward.data.scenes import Scene, picture_of

    split, seed = scene_source(source)
    for index in itertools.count():
        key = Scene(split or "test", index, seed).key
        picture = picture_of(key)
        if picture is None:
            return
        yield key, picture
