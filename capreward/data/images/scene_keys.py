"""Ids of pictures of the ``scenes`` world, which are drawn rather than found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from capreward.data.image_ids import AS_NUMBERS, EXACTLY, id_number, stem
from capreward.errors import InputError


def names_scenes(source: str) -> bool:
    """Whether a source means the ``scenes`` world."""
    return source == "scenes" or source.startswith("scenes:")


def scene_source(source: str) -> tuple[str, int]:
    """The split, empty where none is named, and the seed of ``scenes``, ``scenes:SPLIT`` or ``scenes:SPLIT:SEED``.

    Raises:
        InputError: an unknown split or a seed that is no number.
    """
    from capreward.data.scenes.splits import SPLITS

    _, _, rest = source.partition(":")
    split, _, seed = rest.partition(":")
    if (rest and split not in SPLITS) or (seed and not (seed.isascii() and seed.isdigit())) or source.endswith(":"):
        raise InputError(f"{source}: write scenes, scenes:SPLIT or scenes:SPLIT:SEED, SPLIT one of {', '.join(SPLITS)}")
    return split, int(seed or 0)


def scene_finder(source: str) -> Callable[[str], tuple[Any, str] | None]:
    """The look-up of scene pictures.

    Ids such as ``scenes-test-000123`` say which picture they mean; plain numbers count into the split that the source
    names.

    Args:
        source: ``scenes``, ``scenes:SPLIT`` or ``scenes:SPLIT:SEED``.

    Raises:
        InputError: an unknown split or a seed that is no number; and, from the look-up, a plain number without a split.
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
