"""Finding the pictures that captions belong to: in a folder, shards, a feature store, ``scenes``, or at their paths."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from capreward.data.ids import AS_NAMES, AS_NUMBERS, EXACTLY, IdIndex
from capreward.data.images.folder import PictureFolder, is_picture_name
from capreward.data.images.pictures import FilePicture
from capreward.data.images.scene_keys import names_scenes, scene_finder
from capreward.data.images.shards import ShardIndex, names_shards
from capreward.data.rows import shown
from capreward.errors import InputError, shorten

Find = Callable[[str], "tuple[Any, str] | None"]  # an id to its picture and how it was found


@dataclass(frozen=True)
class FoundImages:
    """The pictures of some ids.

    Attributes:
        images: per key, a picture (or a stored feature), or None where it is missing and may be.
        report: one line: how many of how many were found, where, and how the ids matched.
        notes: what a user should know, one sentence each.
        source: ``folder``, ``column``, ``shards``, ``scenes`` or ``features``.
    """

    images: list[Any]
    report: str
    notes: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class _Place:
    """Where pictures are looked up: its kind, its name, an example of what it holds, and the look-up."""

    kind: str
    name: str
    example: str
    find: Find
    verb: str = "found in"


class _Index(Protocol):
    @property
    def source(self) -> str: ...
    @property
    def names(self) -> list[str]: ...
    def find(self, key: str) -> tuple[str, str] | None: ...
    def picture(self, name: str) -> Any: ...


def find_images(
    source: str | Path | None,
    keys: Sequence[str],
    *,
    aliases: Mapping[str, str] | None = None,
    base: Path | None = None,
    allow_missing: bool = False,
) -> FoundImages:
    """Find the picture of every id.

    Where an id has another name that the caption file gives (an alias, mostly a file name), that name is tried first.

    Args:
        source: a folder of pictures; a tar file or a brace pattern of them; ``scenes``, ``scenes:test`` or
            ``scenes:test:SEED``; a folder that ``capreward embed`` wrote; or None: the ids are paths of pictures. The
            word ``scenes`` means the world even beside a folder of that name; write ``./scenes`` for the folder.
        keys: the ids.
        aliases: other names of ids, ``{name: id}``, as caption files give them.
        base: where relative paths begin (the caption file's folder), before the working directory.
        allow_missing: give None for pictures that are not there, instead of refusing them all.

    Raises:
        InputError: a source that cannot be used, pictures that are missing (all of them, or any without
            ``allow_missing``), or an id that could mean two pictures.
    """
    place = _place(source, base)
    names: dict[str, list[str]] = {}
    for alias, key in (aliases or {}).items():
        names.setdefault(key, []).append(alias)
    images: list[Any] = []
    how: Counter[str] = Counter()
    for key in keys:
        image = None
        for name in (*names.get(key, ()), key):
            hit = place.find(name)
            if hit is not None:
                image = hit[0]
                how[hit[1] if name == key else AS_NAMES] += 1
                break
        images.append(image)
    missing = [key for key, image in zip(keys, images, strict=True) if image is None]
    notes = _judge(missing, len(keys), place, allow_missing)
    return FoundImages(images, _report(len(keys) - len(missing), len(keys), place, how), notes, place.kind)


def _place(source: str | Path | None, base: Path | None) -> _Place:
    if source is None:
        return _paths(base)
    name = str(source)
    if names_scenes(name):
        return _Place("scenes", name, "scenes-test-000000", scene_finder(name), "drawn from")
    if names_shards(name):
        return _indexed("shards", ShardIndex(name))
    if os.path.isdir(name):
        from capreward.encoders.store import is_store

        return _stored(name) if is_store(name) else _indexed("folder", PictureFolder(name))
    if not os.path.exists(name):
        raise InputError(f"--images {name}: there is no such file or folder; give a folder of pictures or a .tar")
    hint = f"give its folder: {os.path.dirname(name) or '.'}" if is_picture_name(name) else "give a folder or a .tar"
    raise InputError(f"--images {name} is a file; {hint}")


def _indexed(kind: str, index: _Index) -> _Place:
    def find(key: str) -> tuple[Any, str] | None:
        hit = index.find(key)
        return None if hit is None else (index.picture(hit[0]), hit[1])

    return _Place(kind, index.source, index.names[0], find)


def _stored(path: str) -> _Place:
    from capreward.encoders.store import FeatureStore

    store = FeatureStore(path)
    if store.kind != "image":
        raise InputError(f"--images {path} holds features of texts; give pictures or a store of image features")
    if not store.keys:
        raise InputError(f"the feature store {path} is empty; run capreward embed")
    index = IdIndex(store.keys, {}, path)

    def find(key: str) -> tuple[Any, str] | None:
        hit = index.find(key)
        return None if hit is None else (store.stored(hit[0]), hit[1])

    return _Place("features", path, store.keys[0], find)


def _paths(base: Path | None) -> _Place:
    starts = ["", *([] if base is None else [str(base)])][::-1]

    def find(key: str) -> tuple[FilePicture, str] | None:
        for start in starts:
            path = os.path.join(start, os.path.expanduser(key))
            if os.path.isfile(path):
                return FilePicture(path), "as paths"
        return None

    where = "the working directory" if base is None else f"{base or '.'} or the working directory"
    return _Place("column", where, "", find)


def _judge(missing: list[str], total: int, place: _Place, allow_missing: bool) -> tuple[str, ...]:
    """Refuse what is missing, or say what is left out."""
    if not missing:
        return ()
    listed = shorten([f'"{shown(key)}"' for key in missing[:3]] + missing[3:])
    count = f"{len(missing):,} of {total:,} {'image' if total == 1 else 'images'}"
    if len(missing) == total:
        raise InputError(_none(missing[0], total, place))
    if not allow_missing:
        where = f"no file under {place.name}" if place.kind == "column" else f"not in {place.name}"
        raise InputError(
            f"{count} {'is' if len(missing) == 1 else 'are'} {where}: {listed}; "
            "add what is missing, or leave such captions out with --allow-missing"
        )
    return (f"{count} not found and left out: {listed}",)


def _none(key: str, total: int, place: _Place) -> str:
    which = "the image is not" if total == 1 else f"none of the {total:,} images is"
    first = f'the first id is "{shown(key)}"'
    if place.kind == "column":
        return f"{which} a file under {place.name}: {first}; give the pictures with --images FOLDER"
    return (
        f'{which} in {place.name}: {first}, the first name there "{shown(place.example)}"; '
        "check that captions and pictures belong together"
    )


def _report(found: int, total: int, place: _Place, how: Counter[str]) -> str:
    used = [name for name in (EXACTLY, AS_NAMES, AS_NUMBERS) if how[name]]
    manner = used[0] if len(used) == 1 else ", ".join(f"{how[name]:,} {name}" for name in used)
    images = f"{found:,} of {total:,} {'image' if total == 1 else 'images'}"
    if place.kind == "column":
        return f"{images} found at their paths"
    return f"{images} {place.verb} {place.name}" + (f" (ids matched {manner})" if manner else "")
