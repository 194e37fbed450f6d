"""Finding the pictures that captions belong to, in one place or in several together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capreward.data.image_ids import AS_NAMES, AS_NUMBERS, EXACTLY
from capreward.data.images.places import Place, Source, places_of
from capreward.data.rows import shown_id
from capreward.errors import InputError, shorten


@dataclass(frozen=True)
class FoundImages:
    """The pictures of some ids.

    Attributes:
        images: per key, a picture (or a stored feature), or None where it is missing and may be.
        report: one line: how many of how many were found, where, and how the ids matched.
        notes: what a user should know, one sentence each.
        source: ``folder``, ``column``, ``shards``, ``table``, ``scenes`` or ``features``; several joined by ``+``.
    """

    images: list[Any]
    report: str
    notes: tuple[str, ...]
    source: str


def find_images(
    source: Source,
    keys: Sequence[str],
    *,
    aliases: Mapping[str, str] | None = None,
    base: Path | None = None,
    allow_missing: bool = False,
    image_column: str | None = None,
    id_column: str | None = None,
) -> FoundImages:
    """Find the picture of every id.

    Where an id has another name that the caption file gives (an alias, mostly a file name), that name is tried first.

    Args:
        source: a folder of pictures; a tar file or a brace pattern of them; a table with pictures or their paths in a
            column (Parquet, Arrow, CSV, TSV, JSON, JSONL); ``scenes``, ``scenes:test`` or ``scenes:test:SEED``; a
            folder that ``capreward embed`` wrote; several of these, which are searched together; or None: the ids are
            paths of pictures. The word ``scenes`` means the world even beside a folder of that name; write
            ``./scenes`` for the folder.
        keys: the ids.
        aliases: other names of ids, ``{name: id}``, as caption files give them.
        base: where relative paths begin (the caption file's folder), before the working directory.
        allow_missing: give None for pictures that are not there, instead of refusing them all.
        image_column: of a table of pictures, if it is not a usual one.
        id_column: of a table of pictures, if it is not a usual one; ``"row"`` for the number of the row.

    Raises:
        InputError: a source that cannot be used, pictures that are missing (all of them, or any without
            ``allow_missing``), an id that could mean two pictures, or one that has another picture in another place.
    """
    places = places_of(source, base, image_column=image_column, id_column=id_column)
    names: dict[str, list[str]] = {}
    for alias, key in (aliases or {}).items():
        names.setdefault(key, []).append(alias)
    images: list[Any] = []
    how: Counter[str] = Counter()
    for key in keys:
        hits = [hit for place in places if (hit := _hit(place, key, names.get(key, ()))) is not None]
        if len(hits) > 1:
            _refuse_differing(key, [image for image, _ in hits])
        images.append(hits[0][0] if hits else None)
        how.update(manner for _, manner in hits[:1])
    missing = [key for key, image in zip(keys, images, strict=True) if image is None]
    notes = _judge(missing, len(keys), places, allow_missing)
    kinds = "+".join(dict.fromkeys(place.kind for place in places))
    return FoundImages(images, _report(len(keys) - len(missing), len(keys), places, how), notes, kinds)


def _hit(place: Place, key: str, names: Sequence[str]) -> tuple[Any, str] | None:
    """The picture of an id in one place, and how it was found; its other names are tried first."""
    for name in (*names, key):
        found = place.find(name)
        if found is not None:
            return found if name == key else (found[0], AS_NAMES)
    return None


def _refuse_differing(key: str, images: Sequence[Any]) -> None:
    """Refuse pictures of one id from several places, unless they are one file."""
    other = next((image for image in images if image.key != images[0].key), None)
    if other is not None:
        raise InputError(
            f'two of the --images have a picture of "{shown_id(key)}": {images[0]} and {other}; '
            "give the one place that holds the right one, or make the ids differ"
        )


def _judge(missing: list[str], total: int, places: Sequence[Place], allow_missing: bool) -> tuple[str, ...]:
    """Refuse what is missing, or say what is left out."""
    if not missing:
        return ()
    listed = shorten([f'"{shown_id(key)}"' for key in missing[:3]] + missing[3:])
    count = f"{len(missing):,} of {total:,} {'image' if total == 1 else 'images'}"
    if len(missing) == total:
        raise InputError(_none(missing[0], total, places))
    if not allow_missing:
        where = places[0].lacking if len(places) == 1 else f"in none of {_named(places)}"
        raise InputError(
            f"{count} {'is' if len(missing) == 1 else 'are'} {where}: {listed}; "
            "add what is missing, or leave such captions out with --allow-missing"
        )
    return (f"{count} not found and left out: {listed}",)


def _none(key: str, total: int, places: Sequence[Place]) -> str:
    which = "the image is not" if total == 1 else f"none of the {total:,} images is"
    first = f'the first id is "{shown_id(key)}"'
    if places[0].kind == "column":
        return f"{which} a file under {places[0].name}: {first}; give the pictures with --images FOLDER"
    there = "there" if len(places) == 1 else f"in {places[0].name}"
    return (
        f'{which} in {_named(places)}: {first}, the first name {there} "{shown_id(places[0].example)}"; '
        "check that captions and pictures belong together"
    )


def _named(places: Sequence[Place]) -> str:
    """The places in a sentence."""
    return shorten([place.name for place in places], 4)


def _report(found: int, total: int, places: Sequence[Place], how: Counter[str]) -> str:
    used = [name for name in (EXACTLY, AS_NAMES, AS_NUMBERS) if how[name]]
    manner = used[0] if len(used) == 1 else ", ".join(f"{how[name]:,} {name}" for name in used)
    images = f"{found:,} of {total:,} {'image' if total == 1 else 'images'}"
    if places[0].kind == "column":
        return f"{images} found at their paths"
    return f"{images} {places[0].verb} {_named(places)}" + (f" (ids matched {manner})" if manner else "")
