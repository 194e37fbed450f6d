"""The check of the items for the Java programs: candidates, each with its references."""

from __future__ import annotations

from collections.abc import Sequence

from capreward.errors import InputError


def check_items(candidates: Sequence[str], references: Sequence[Sequence[str]], name: str) -> None:
    """Refuse candidates and references that cannot be scored.

    Args:
        candidates: The N captions.
        references: The references of each candidate.
        name: The name of the program, for messages.

    Raises:
        InputError: If the lengths differ, or if an item has no reference.
    """
    if len(candidates) != len(references):
        raise InputError(f"there are {len(candidates)} candidates and {len(references)} lists of references.")
    for number, texts in enumerate(references):
        if not texts:
            raise InputError(f"item {number} has no reference, and {name} needs one or more for each.")
