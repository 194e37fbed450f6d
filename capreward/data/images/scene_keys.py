"""Ids of pictures of the ``scenes`` world, which are drawn and not read from files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from capreward.data.image_ids import AS_NUMBERS, EXACTLY, id_number, stem
from capreward.errors import InputError


def names_scenes(source: str) -> bool:
    """Return whether a source means the ``scenes`` world."""
    return source == "scenes" or source.startswith("scenes:")


def scene_source(source: str) -> tuple[str, int]:
    """Return the split and the seed of ``scenes``, ``scenes:SPLIT`` or ``scenes:SPLIT:SEED``.

    Returns:
        The split, which is empty if none is named, and the seed, which is 0 if none is named.

    Raises:
        InputError: If the split is unknown, or if the seed is no number.
    """
    from capreward.data.scenes.splits import SPLITS

    _, _, rest = source.partition(":")
    split, _, seed = rest.partition(":")
    if (rest and split not in SPLITS) or (seed and not (seed.isascii() and seed.isdigit())) or source.endswith(":"):
        raise InputError(f"{source}: write scenes, scenes:SPLIT or scenes:SPLIT:SEED, SPLIT one of {', '.join(SPLITS)}")
    return split, int(seed or 0)


def scene_finder(source: str) -> Callable[[str], tuple[Any, str] | None]:
    """Return the function that looks scene pictures up by their ids.

    An id such as ``scenes-test-000123`` names its picture; a plain number is an index into the split that the source
    names.

    Args:
        source: The source: ``scenes``, ``scenes:SPLIT`` or ``scenes:SPLIT:SEED``.

    Returns:
        The function from an id to its picture and how it was found, or to None. It raises InputError for a plain number
        if the source names no split.

    Raises:
        InputError: If the split is unknown, or if the seed is no number.
    """
    from capreward.data.scenes import Scene, picture_of

    split, seed = scene_source(source)

    def find(key: str) -> tuple[Any, str] | None:
        picture = picture_of(stem(key))
        if picture is not None:
            return picture, EXACTLY
        index = id_number(key)
        if index is None:
            return None
        if not split:
            raise InputError(
                f'the id "{index}" is a plain number, which needs the split it counts into: write --images scenes:test'
            )
        picture = picture_of(Scene(split, int(index), seed).key)
        return None if picture is None else (picture, AS_NUMBERS)

    return find
