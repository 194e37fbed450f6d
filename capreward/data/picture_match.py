"""The pairing of matched captions with the pictures of their images, wherever those pictures are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from capreward.data.captions import CaptionTable
from capreward.data.reference_match import ReferenceMatch
from capreward.errors import InputError, shorten


@dataclass(frozen=True)
class PictureMatch:
    """Captions whose pictures were found.

    Attributes:
        matched: The captions that are left, with their references.
        images: The pictures, one per key of ``matched``.
        report: One line that says how many pictures were found, where, and in which manner.
        notes: What a user should know about the pairing, one sentence each.
    """

    matched: ReferenceMatch
    images: list[Any]
    report: str
    notes: tuple[str, ...] = ()


def match_pictures(
    matched: ReferenceMatch,
    table: CaptionTable,
    images: str | Path | Sequence[str | Path] | Mapping[str, Any] | None,
    *,
    allow_missing: bool = False,
    image_column: str | None = None,
    id_column: str | None = None,
) -> PictureMatch:
    """Find the picture of each image that has a caption.

    Args:
        matched: The captions, as ``match`` returns them.
        table: The table of the captions; its other names of the ids and its folder help to find pictures.
        images: A folder, shards, a table, a feature store, ``scenes``, or several of these; or a mapping from id to
            picture; None or an empty list takes the pictures that the caption file itself names or holds.
        allow_missing: If True, captions whose picture is not found are left out; otherwise they are refused.
        image_column: The name of the column of pictures in a table of pictures; None takes a usual name.
        id_column: The name of the column of ids in a table of pictures; None takes a usual name.

    Raises:
        InputError: If pictures are not found; the message counts and names them.
    """
    if isinstance(images, Mapping):
        return _match_mapping(matched, images, allow_missing)
    from capreward.data.images.lookup import find_images
    from capreward.data.images.table_of_captions import own_pictures

    source = images or own_pictures(table, matched.keys, image_column)
    base = Path(table.source).parent if table.format != "webdataset" else None
    columns = {"image_column": image_column, "id_column": id_column} if images else {}
    found = find_images(source, matched.keys, aliases=table.aliases, base=base, allow_missing=allow_missing, **columns)
    return _without_missing(PictureMatch(matched, found.images, found.report, found.notes))


def _match_mapping(matched: ReferenceMatch, images: Mapping[str, Any], allow_missing: bool) -> PictureMatch:
    found = [images.get(key) for key in matched.keys]
    missing = [key for key, image in zip(matched.keys, found, strict=True) if image is None]
    if missing and (not allow_missing or len(missing) == len(found)):
        raise InputError(f"images has no picture for {len(missing):,} ids: {shorten(missing)}")
    notes = (f"{len(missing):,} images without a picture left out: {shorten(missing)}",) if missing else ()
    return _without_missing(PictureMatch(matched, found, f"{len(found) - len(missing):,} pictures given", notes))


def _without_missing(shown: PictureMatch) -> PictureMatch:
    """Leave out the captions whose image has no picture."""
    kept = [i for i, image in enumerate(shown.images) if image is not None]
    if len(kept) == len(shown.images):
        return shown
    place = {old: new for new, old in enumerate(kept)}
    old = shown.matched
    rows = [n for n, item in enumerate(old.item) if item in place]
    matched = replace(
        old,
        keys=[old.keys[i] for i in kept],
        captions=[old.captions[n] for n in rows],
        item=[place[old.item[n]] for n in rows],
        references=[old.references[i] for i in kept] if old.references else [],
        rows=[old.rows[n] for n in rows],
    )
    return replace(shown, matched=matched, images=[shown.images[i] for i in kept])
