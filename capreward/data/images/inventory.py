"""Lists of all pictures of a place, with a key for each, for use without a caption file that names them."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from capreward.errors import InputError

_LIST = '{"images": [{"id": 42, "file_path": "val2014/42.jpg"}]}'
SCENES = 1000  # the default number of pictures of scenes, whose splits have no end


def list_pictures(
    source: str | Path, count: int | None = None, *, image_column: str | None = None, id_column: str | None = None
) -> tuple[list[str], list[Any]]:
    """List pictures in a fixed order.

    Args:
        source: One of these places of pictures:

            - a folder; the keys are file names without their ending, with their folders inside it (``train/42``); the
              ending stays where two files differ in it alone;
            - a tar file or a brace pattern; the keys are those of the shards;
            - ``scenes``, ``scenes:SPLIT`` or ``scenes:SPLIT:SEED`` (split ``test`` by default); the keys look like
              ``scenes-test-000123``;
            - a JSON file ``{"images": [{"id", "file_path"}]}``, as CLIP-Caption-Reward's ``FineCapEval.json`` and
              ``cocotalk.json``; the keys are the ids, and paths begin in the file's folder or the working directory;
            - a table with pictures, or paths of pictures, in a column; the keys are its ids, or the numbers of its
              rows if it has no ids.
        count: The number of pictures to list, from the first on; None lists all, and 1,000 of ``scenes``.
        image_column: The name of the column of pictures in a table; None takes a usual name.
        id_column: The name of the column of ids in a table; ``"row"`` takes the number of the row; None takes a usual
            name.

    Returns:
        The keys and the pictures.

    Raises:
        InputError: If the source cannot be read or has no pictures, or if ``count`` is below 1.
    """
    name = str(source)
    if count is not None and count < 1:
        raise InputError(f"count must be 1 or more; found {count}")
    from capreward.data.images.scene_keys import names_scenes

    found = _keyed_pictures(name, {"image_column": image_column, "id_column": id_column})
    pairs = itertools.islice(found, SCENES if count is None and names_scenes(name) else count)
    keys, pictures = zip(*pairs, strict=True)
    return list(keys), list(pictures)


def _keyed_pictures(source: str, columns: dict[str, str | None]) -> Iterator[tuple[str, Any]]:
    from capreward.data.images.folder import PictureFolder, is_picture_name
    from capreward.data.images.scene_keys import names_scenes
    from capreward.data.images.shards import ShardIndex, names_shards
    from capreward.data.images.tables import PictureTable, names_table

    if names_scenes(source):
        return _scene_pictures(source)
    if names_shards(source):
        shards = ShardIndex(source)
        return ((name, shards.picture(name)) for name in shards.names)
    if names_table(source):
        listed = _pictures_in_list(Path(source)) if source.endswith(".json") else None
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


def _pictures_in_list(path: Path) -> list[tuple[str, Any]] | None:
    """Return the pictures that a JSON list of pictures names; None for JSON of other kinds."""
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


def _scene_pictures(source: str) -> Iterator[tuple[str, Any]]:
    from capreward.data.images.scene_keys import scene_source
    from capreward.data.scenes import Scene, picture_of

    split, seed = scene_source(source)
    for index in itertools.count():
        key = Scene(split or "test", index, seed).key
        picture = picture_of(key)
        if picture is None:
            return
        yield key, picture
