"""Places where pictures are looked up by their ids: a folder, shards, a table, a feature store, ``scenes``, paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from capreward.data.image_ids import IdIndex
from capreward.data.images.folder import PictureFolder, is_picture_name
from capreward.data.images.pictures import FilePicture
from capreward.data.images.scene_keys import names_scenes, scene_finder
from capreward.data.images.shards import ShardIndex, names_shards
from capreward.data.images.tables import PictureTable, names_table
from capreward.data.shards import expand_names
from capreward.errors import InputError

Find = Callable[[str], "tuple[Any, str] | None"]  # an id to its picture and how it was found
PlaceSource = str | Path | PictureTable
Source = PlaceSource | Sequence[PlaceSource] | None


@dataclass(frozen=True)
class Place:
    """A place where pictures are looked up by their ids.

    Attributes:
        kind: The kind of place: ``folder``, ``column``, ``shards``, ``table``, ``scenes`` or ``features``.
        name: The name of the place, as the user wrote it.
        example: The first name in the place, for messages.
        find: The function from an id to its picture and how it was found, or to None.
        not_found_text: The words that say that an id is not found.
        verb: The words that say how its pictures are obtained, such as ``found in``.
    """

    kind: str
    name: str
    example: str
    find: Find
    not_found_text: str
    verb: str = "found in"


class _Index(Protocol):
    @property
    def source(self) -> str: ...
    @property
    def names(self) -> list[str]: ...
    def find(self, key: str) -> tuple[str, str] | None: ...
    def picture(self, name: str) -> Any: ...


def places_of(
    source: Source, base: Path | None, *, image_column: str | None = None, id_column: str | None = None
) -> list[Place]:
    """Return the places that a user names, in their order.

    Args:
        source: One place or several, see :func:`~capreward.data.images.lookup.find_images`; None if ids are paths.
        base: The folder where relative paths begin; the working directory comes second.
        image_column: The name of the column of pictures in tables; None takes a usual name.
        id_column: The name of the column of ids in tables; None takes a usual name.

    Raises:
        InputError: If a place cannot be used, if it is given twice, or if a column is named but no place is a table.
    """
    if source is None or (not isinstance(source, str | Path | PictureTable) and not source):
        return [_path_place(base)]
    given = [source] if isinstance(source, str | Path | PictureTable) else list(source)
    named = [one for item in given for one in _expand_tables(item)]
    texts = [str(one) for one in named]
    if twice := next((text for text in texts if texts.count(text) > 1), None):
        raise InputError(f"--images {twice} is given twice; give each place once")
    if id_column is not None and not any(isinstance(one, PictureTable) or names_table(str(one)) for one in named):
        raise InputError(f"--images {texts[0]} is no table, so it has no column of ids; leave --images-id-column out")
    return [_place_of(one, image_column, id_column) for one in named]


def _expand_tables(source: PlaceSource) -> list[PlaceSource]:
    """Return the tables that a brace pattern names; shards, which expand their own pattern, stay as they are."""
    text = str(source)
    if isinstance(source, PictureTable) or "{" not in text or names_shards(text) or os.path.exists(text):
        return [source]
    return list(expand_names(text))


def _place_of(source: PlaceSource, image_column: str | None, id_column: str | None) -> Place:
    if isinstance(source, PictureTable):
        return _table_place(source)
    name = str(source)
    if names_scenes(name):
        return Place("scenes", name, "scenes-test-000000", scene_finder(name), f"not in {name}", "drawn from")
    if names_shards(name):
        return _indexed_place("shards", ShardIndex(name))
    if os.path.isdir(name):
        from capreward.encoders.store.feature_store import is_store

        return _store_place(name) if is_store(name) else _indexed_place("folder", PictureFolder(name))
    if not os.path.exists(name):
        raise InputError(
            f"--images {name}: there is no such file or folder; give a folder of pictures, a .tar or a table"
        )
    if is_picture_name(os.path.basename(name)):
        raise InputError(f"--images {name} is a file; give its folder: {os.path.dirname(name) or '.'}")
    return _table_place(PictureTable(name, image_column=image_column, id_column=id_column))


def _table_place(table: PictureTable) -> Place:
    return _indexed_place("table", table, table.not_found_text())


def _indexed_place(kind: str, index: _Index, not_found_text: str = "") -> Place:
    def find(key: str) -> tuple[Any, str] | None:
        hit = index.find(key)
        return None if hit is None else (index.picture(hit[0]), hit[1])

    return Place(kind, index.source, index.names[0], find, not_found_text or f"not in {index.source}")


def _store_place(path: str) -> Place:
    from capreward.encoders.store.feature_store import FeatureStore

    store = FeatureStore(path)
    if store.kind != "image":
        raise InputError(f"--images {path} holds features of texts; give pictures or a store of image features")
    if not store.keys:
        raise InputError(f"the feature store {path} is empty; run capreward embed")
    index = IdIndex(store.keys, {}, path)

    def find(key: str) -> tuple[Any, str] | None:
        hit = index.find(key)
        return None if hit is None else (store.stored(hit[0]), hit[1])

    return Place("features", path, store.keys[0], find, f"not in {path}")


def _path_place(base: Path | None) -> Place:
    starts = ["", *([] if base is None else [str(base)])][::-1]

    def find(key: str) -> tuple[FilePicture, str] | None:
        for start in starts:
            path = os.path.join(start, os.path.expanduser(key))
            if os.path.isfile(path):
                return FilePicture(path), "as paths"
        return None

    where = "the working directory" if base is None else f"{base or '.'} or the working directory"
    return Place("column", where, "", find, f"no file under {where}")
