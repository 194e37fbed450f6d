"""The spellings of metrics in papers and other tools: BLEU-4, ROUGE_L, CLIPScore, PAC-S++."""

from __future__ import annotations

import re
from collections.abc import Iterable

from capreward.errors import InputError

SPELT = re.compile(r"[A-Za-z_]\w*(?:[-@]\w+)*(?:\+\+)?")  # anything else, such as "-length", is no name

# Folded spellings and the names that they stand for, where folding alone does not find the name.
PRINTED = {
    "rougel": "rouge",
    "clipscore": "clips",
    "refclipscore": "refclips",
    "pacscore": "pacs",
    "refpacscore": "refpacs",
    "pacscorepp": "pacspp",
    "refpacscorepp": "refpacspp",
    **{f"b{n}": f"bleu{n}" for n in range(1, 5)},
}


def fold(name: str) -> str:
    """Return the name without the differences of spellings: case, ``-``, ``_`` and ``@``; ``++`` becomes ``pp``.

    Example:
        >>> fold("Bleu_4"), fold("BLEU@4"), fold("PAC-S++")
        ('bleu4', 'bleu4', 'pacspp')
    """
    for mark in "-_@":
        name = name.replace(mark, "")
    return name.lower().replace("++", "pp")


def matching_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that a spelling stands for: an equal name if there is one, else the one that folds alike.

    Args:
        name: The spelling that someone wrote.
        known: The known names.

    Returns:
        The known name; None if there is none.

    Raises:
        InputError: Several known names fold alike, and the spelling equals none of them.
    """
    names = list(known)
    if name in names:
        return name
    if SPELT.fullmatch(name) is None:
        return None
    folded = fold(name)
    alike = [n for n in names if fold(n) == folded or n == PRINTED.get(folded)]
    if len(alike) > 1:
        raise InputError(f"{name!r} can be {' or '.join(alike)}; write one of them exactly")
    return alike[0] if alike else None
