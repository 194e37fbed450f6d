"""All the pictures of a place with a key for each, where no caption file names them."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from capreward.errors import InputError

_LIST = '{"images": [{"id": 42, "file_path": "val2014/42.jpg"}]}'
SCENES = 1000  # pictures of the scenes world, which never ends, where no number is given


def list_pictures(
    source: str | Path, count: int | None = None, *, image_column: str | None = None, id_column: str | None = None
) -> tuple[list[str], list[Any]]:
    """List pictures in a fixed order.

    Args:
        source: a folder: keys are file names without ending, with their folders inside it (``train/42``), and with the
            ending where two files differ in it alone; a tar file or brace pattern: keys are the shards' own; or
            ``scenes``, ``scenes:SPLIT``, ``scenes:SPLIT:SEED`` (split ``test`` by default): keys such as
            ``scenes-test-000123``; or a JSON file ``{"images": [{"id", "file_path"}]}`` as CLIP-Caption-Reward's
            ``FineCapEval.json`` and ``cocotalk.json``: keys are the ids, paths begin in its folder or the working
            directory; or a table with pictures, or paths of pictures, in a column: keys are its ids, or the numbers of
            its rows where it has none.
        count: the first so many; all by default, and 1,000 of ``scenes``.
        image_column: of a table, if it is not a usual one.
        id_column: of a table, if it is not a usual one; ``"row"`` for the number of the row.

    Returns:
        Keys and pictures.

    Raises:
        InputError: a source that cannot be read or has no pictures.
    """
    name = str(source)
    if count is not None and count < 1:
        raise InputError(f"count must be 1 or more; found {count}")
    from capreward.data.images.scene_keys import names_scenes

    found = _pairs(name, {"image_column": image_column, "id_column": id_column})
    pairs = itertools.islice(found, SCENES if count is None and names_scenes(name) else count)
    keys, pictures = zip(*pairs, strict=True)
    return list(keys), list(pictures)


def _pairs(source: str, columns: dict[str, str | None]) -> Iterator[tuple[str, Any]]:
    from capreward.data.images.folder import PictureFolder, is_picture_name
    from capreward.data.images.scene_keys import names_scenes
    from capreward.data.images.shards import ShardIndex, names_shards
    from capreward.data.images.tables import PictureTable, names_table

    if names_scenes(source):
        return _scenes(source)
    if names_shards(source):
        shards = ShardIndex(source)
        return ((name, shards.picture(name)) for name in shards.names)
    if names_table(source):
        listed = _listed(Path(source)) if source.endswith(".json") else None
        if listed is not None:
            return iter(listed)
        table = PictureTable(source, numbered=True, **columns)
        return ((name, table.picture(name)) for name in table.names)
    if not os.path.isdir(source):
        single = is_picture_name(os.path.basename(source)) and os.path.exists(source)
        wrong = "is a file" if single else "does not exist"
        raise InputError(f"{source} {wrong}; give a folder of pictures, a .tar or scenes:test")
    folder = PictureFolder(source)
    bare = [name.rpartition(".")[0] for name in folder.names]
    often = Counter(bare)
    return (
        (short if often[short] == 1 else name, folder.picture(name))
        for short, name in zip(bare, folder.names, strict=True)
    )


def _listed(path: Path) -> list[tuple[str, Any]] | None:
    """The pictures of a list of them; None for JSON of other kinds."""
    from capreward.data.file_content import load_content
    from capreward.data.images.lookup import find_images
    from capreward.data.rows import id_text

    value = load_content(path).json()
    images = value.get("images") if isinstance(value, dict) else None
    if images is None or (isinstance(value, dict) and "annotations" in value):
        return None
    if not isinstance(images, list) or not images:
        raise InputError(f"{path} lists no pictures; a list looks like {_LIST}")
    names: dict[str, str] = {}
    for place, image in enumerate(images, 1):
        name = image.get("file_path") if isinstance(image, dict) else None
        key = id_text(image.get("id")) if isinstance(image, dict) else None
        if not isinstance(name, str) or key is None:
            raise InputError(f"{path}, image {place} has no id or no file_path; a list looks like {_LIST}")
        if names.setdefault(key, name) != name:
            raise InputError(f'{path} has two pictures of the id "{key}": {names[key]} and {name}')
    found = find_images(None, list(names.values()), base=path.parent)
    return list(zip(names, found.images, strict=True))


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
