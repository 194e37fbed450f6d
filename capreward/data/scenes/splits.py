"""The combinations of kind and colour that each split shows, and the random stream of each picture."""

from __future__ import annotations

from random import Random

from capreward.data.scenes.vocabulary import COLOUR_NAMES, KIND_NAMES
from capreward.errors import InputError

SPLITS = ("train", "val", "test")
RESERVED = {4: "val", 7: "test"}

# The purposes of the random streams of one picture; those of its captions are numbered from CAPTIONS on.
CONTENT, REDRAW, CAPTIONS = 0, 1, 8


def reserved_split(kind: str, colour: str) -> str:
    """Return the split for which a combination of kind and colour is reserved; ``train`` if it is free for all.

    Every kind has one colour reserved for val and one for test; every colour has two kinds reserved for each of them.
    Train shows free combinations only. Val and test show at least one of their own combinations in every picture, and
    none of each other's.
    """
    number = 2 * KIND_NAMES.index(kind) + COLOUR_NAMES.index(colour)
    return RESERVED.get(number % len(COLOUR_NAMES), "train")


COLOURS_OF = {
    (split, kind): tuple(c for c in COLOUR_NAMES if reserved_split(kind, c) == split)
    for split in SPLITS
    for kind in KIND_NAMES
}


def random_stream(split: str, index: int, seed: int, purpose: int, variant: int = 0) -> Random:
    """Return the generator of the random numbers for one purpose of one picture.

    Use only its method ``random()``, which is the same in all versions of Python.

    Args:
        split: The split: ``train``, ``val`` or ``test``.
        index: The index of the picture, 0 to 2**32 - 1.
        seed: The seed of the world, 0 to 2**32 - 1.
        purpose: The purpose: CONTENT, REDRAW, or CAPTIONS plus the number of a caption.
        variant: The variant of a caption or a redrawn picture, 0 to 2**32 - 1.

    Raises:
        InputError: If the split is unknown, or if a number is below 0 or above 2**32 - 1.
    """
    if split not in SPLITS:
        raise InputError(f"scenes has the splits train, val and test; found {split!r}")
    number = 0
    for part in (seed, index, variant):
        if not 0 <= part < 2**32:
            raise InputError(f"scenes takes a seed, index and variant from 0 to 2**32 - 1; found {part}")
        number = number << 32 | part
    return Random((number * len(SPLITS) + SPLITS.index(split)) * 64 + purpose)
