"""What the Java programs are given: candidates, each with its references."""

from __future__ import annotations

from collections.abc import Sequence

from capreward.errors import InputError


def check_items(candidates: Sequence[str], references: Sequence[Sequence[str]], name: str) -> None:
    """Refuse what cannot be scored; ``name`` is the program's.

    Raises:
        InputError: the lengths differ, or an item has no reference.
    """
    if len(candidates) != len(references):
        raise InputError(f"there are {len(candidates)} candidates and {len(references)} lists of references.")
    for number, texts in enumerate(references):
        if not texts:
            raise InputError(f"item {number} has no reference, and {name} needs one or more for each.")
