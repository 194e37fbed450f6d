"""Which combinations of kind and colour each split shows, and the random stream of each picture."""

from __future__ import annotations

from random import Random

from capreward.data.scenes.vocabulary import COLOUR_NAMES, KIND_NAMES
from capreward.errors import InputError

SPLITS = ("train", "val", "test")
RESERVED = {4: "val", 7: "test"}

# Streams of one picture; those of the captions follow from CAPTIONS on.
CONTENT, REDRAW, CAPTIONS = 0, 1, 8


def owner(kind: str, colour: str) -> str:
    """The split that a combination of kind and colour is reserved for; ``train`` if it is free for all.

    Every kind has one colour reserved for val and one for test, every colour two kinds for each. Train shows free
    combinations alone; val and test show at least one of their own in every picture and none of each other's.
    """
    number = 2 * KIND_NAMES.index(kind) + COLOUR_NAMES.index(colour)
    return RESERVED.get(number % len(COLOUR_NAMES), "train")


COLOURS_OF = {
    (split, kind): tuple(c for c in COLOUR_NAMES if owner(kind, c) == split) for split in SPLITS for kind in KIND_NAMES
}


def stream(split: str, index: int, seed: int, purpose: int, variant: int = 0) -> Random:
    """The random numbers for one purpose of one picture; use ``random()`` alone, which never changes with Python.

    Raises:
        InputError: an unknown split, or a number below 0 or above 2**32.
    """
    if split not in SPLITS:
        raise InputError(f"scenes has the splits train, val and test; found {split!r}")
    number = 0
    for part in (seed, index, variant):
        if not 0 <= part < 2**32:
            raise InputError(f"scenes takes a seed, index and variant from 0 to 2**32 - 1; found {part}")
        number = number << 32 | part
    return Random((number * len(SPLITS) + SPLITS.index(split)) * 64 + purpose)
