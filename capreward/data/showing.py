"""Pairing the images of matched captions with pictures, wherever those are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from capreward.data.captions import CaptionTable
from capreward.data.matching import Matched
from capreward.errors import InputError, shorten


@dataclass(frozen=True)
class Shown:
    """Captions that met their pictures.

    Attributes:
        matched: the captions that are left, with their references.
        images: one picture per key of ``matched``.
        report: one line on how many were found, where and how.
        notes: what a user should know about the pairing.
    """

    matched: Matched
    images: list[Any]
    report: str
    notes: tuple[str, ...] = ()


def show(
    matched: Matched,
    table: CaptionTable,
    images: str | Path | Mapping[str, Any] | None,
    *,
    allow_missing: bool = False,
) -> Shown:
    """Find the picture of each image that has a caption.

    Args:
        matched: what ``match`` gave.
        table: the captions' file: its other names of the ids and its folder help to find pictures.
        images: a folder, shards, a feature store, ``scenes``, a mapping from id to picture; None to take the pictures
            that the caption file itself names or holds.
        allow_missing: leave out the captions whose picture is not found.

    Raises:
        InputError: pictures that are not found, counted and named.
    """
    if isinstance(images, Mapping):
        return _mapped(matched, images, allow_missing)
    from capreward.data.images.finding import find_images

    source = _own_source(matched, table) if images is None else images
    base = Path(table.source).parent if table.format != "webdataset" else None
    found = find_images(source, matched.keys, aliases=table.aliases, base=base, allow_missing=allow_missing)
    return _without_missing(Shown(matched, found.images, found.report, found.notes))


def _own_source(matched: Matched, table: CaptionTable) -> str | None:
    """Shards hold their own pictures, and the keys of scenes name theirs; else None: keys or names are paths."""
    if table.format == "webdataset":
        return table.source
    from capreward.data.scenes import picture_of

    return "scenes" if matched.keys and picture_of(matched.keys[0]) is not None else None


def _mapped(matched: Matched, images: Mapping[str, Any], allow_missing: bool) -> Shown:
    found = [images.get(key) for key in matched.keys]
    missing = [key for key, image in zip(matched.keys, found, strict=True) if image is None]
    if missing and (not allow_missing or len(missing) == len(found)):
        raise InputError(f"images has no picture for {len(missing):,} ids: {shorten(missing)}")
    notes = (f"{len(missing):,} images without a picture left out: {shorten(missing)}",) if missing else ()
    return _without_missing(Shown(matched, found, f"{len(found) - len(missing):,} pictures given", notes))


def _without_missing(shown: Shown) -> Shown:
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
