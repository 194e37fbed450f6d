"""The search for the pictures of captions, in one place or in several places together."""

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
        images: The picture (or the stored feature) of each id; None where a picture is missing and may be missing.
        report: One line that says how many of the pictures were found, where, and how the ids matched.
        notes: What a user should know, one sentence each.
        source: The kind of place: ``folder``, ``column``, ``shards``, ``table``, ``scenes`` or ``features``; several
            kinds are joined by ``+``.
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

    If the caption file gives an id another name (an alias, mostly a file name), that name is tried first.

    Args:
        source: A folder of pictures; a tar file or a brace pattern of tar files; a table with pictures or their paths
            in a column (Parquet, Arrow, CSV, TSV, JSON, JSONL); ``scenes``, ``scenes:test`` or ``scenes:test:SEED``; a
            folder that ``capreward embed`` wrote; several of these, which are searched together; or None if the ids are
            paths of pictures. The word ``scenes`` means the world of drawn pictures even if a folder has that name;
            write ``./scenes`` for the folder.
        keys: The ids.
        aliases: Other names of ids, ``{name: id}``, as caption files give them.
        base: The folder where relative paths begin (the caption file's folder); the working directory comes second.
        allow_missing: If True, a missing picture is None in the result; otherwise missing pictures are refused.
        image_column: The name of the column of pictures in a table; None takes a usual name.
        id_column: The name of the column of ids in a table; ``"row"`` takes the number of the row; None takes a usual
            name.

    Raises:
        InputError: If a source cannot be used, if pictures are missing (all of them, or any without
            ``allow_missing``), if an id could mean two pictures, or if it has different pictures in two places.
    """
    places = places_of(source, base, image_column=image_column, id_column=id_column)
    names: dict[str, list[str]] = {}
    for alias, key in (aliases or {}).items():
        names.setdefault(key, []).append(alias)
    images: list[Any] = []
    how: Counter[str] = Counter()
    for key in keys:
        hits = [hit for place in places if (hit := _find_in_place(place, key, names.get(key, ()))) is not None]
        if len(hits) > 1:
            _refuse_differing_pictures(key, [image for image, _ in hits])
        images.append(hits[0][0] if hits else None)
        how.update(manner for _, manner in hits[:1])
    missing = [key for key, image in zip(keys, images, strict=True) if image is None]
    notes = _check_missing(missing, len(keys), places, allow_missing)
    kinds = "+".join(dict.fromkeys(place.kind for place in places))
    return FoundImages(images, _found_report(len(keys) - len(missing), len(keys), places, how), notes, kinds)


def _find_in_place(place: Place, key: str, names: Sequence[str]) -> tuple[Any, str] | None:
    """Return the picture of an id in one place, and how it was found; the other names of the id are tried first."""
    for name in (*names, key):
        found = place.find(name)
        if found is not None:
            return found if name == key else (found[0], AS_NAMES)
    return None


def _refuse_differing_pictures(key: str, images: Sequence[Any]) -> None:
    """Refuse pictures of one id from several places, unless they are the same picture."""
    other = next((image for image in images if image.key != images[0].key), None)
    if other is not None:
        raise InputError(
            f'two of the --images have a picture of "{shown_id(key)}": {images[0]} and {other}; '
            "give the one place that holds the right one, or make the ids differ"
        )


def _check_missing(missing: list[str], total: int, places: Sequence[Place], allow_missing: bool) -> tuple[str, ...]:
    """Refuse missing pictures, or return a note on those that are left out."""
    if not missing:
        return ()
    listed = shorten([f'"{shown_id(key)}"' for key in missing[:3]] + missing[3:])
    count = f"{len(missing):,} of {total:,} {'image' if total == 1 else 'images'}"
    if len(missing) == total:
        raise InputError(_none_found_text(missing[0], total, places))
    if not allow_missing:
        where = places[0].not_found_text if len(places) == 1 else f"in none of {_place_names_text(places)}"
        raise InputError(
            f"{count} {'is' if len(missing) == 1 else 'are'} {where}: {listed}; "
            "add what is missing, or leave such captions out with --allow-missing"
        )
    return (f"{count} not found and left out: {listed}",)


def _none_found_text(key: str, total: int, places: Sequence[Place]) -> str:
    which = "the image is not" if total == 1 else f"none of the {total:,} images is"
    first = f'the first id is "{shown_id(key)}"'
    if places[0].kind == "column":
        return f"{which} a file under {places[0].name}: {first}; give the pictures with --images FOLDER"
    there = "there" if len(places) == 1 else f"in {places[0].name}"
    return (
        f'{which} in {_place_names_text(places)}: {first}, the first name {there} "{shown_id(places[0].example)}"; '
        "check that captions and pictures belong together"
    )


def _place_names_text(places: Sequence[Place]) -> str:
    """List the names of the places for a sentence."""
    return shorten([place.name for place in places], 4)


def _found_report(found: int, total: int, places: Sequence[Place], how: Counter[str]) -> str:
    used = [name for name in (EXACTLY, AS_NAMES, AS_NUMBERS) if how[name]]
    manner = used[0] if len(used) == 1 else ", ".join(f"{how[name]:,} {name}" for name in used)
    images = f"{found:,} of {total:,} {'image' if total == 1 else 'images'}"
    if places[0].kind == "column":
        return f"{images} found at their paths"
    return f"{images} {places[0].verb} {_place_names_text(places)}" + (f" (ids matched {manner})" if manner else "")
