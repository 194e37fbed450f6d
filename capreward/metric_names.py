"""Names of metrics as papers and other tools print them: BLEU-4, ROUGE_L, CLIPScore, PAC-S++."""

from __future__ import annotations

import re
from collections.abc import Iterable

from capreward.errors import InputError

SPELT = re.compile(r"[A-Za-z_]\w*(?:[-@]\w+)*(?:\+\+)?")  # anything else, such as "-length", is no name

# What is printed, folded, to the name it stands for, where folding alone does not tell.
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
    """The name without what spellings differ in: case, ``-``, ``_`` and ``@``; ``++`` is ``pp``.

    Example:
        >>> fold("Bleu_4"), fold("BLEU@4"), fold("PAC-S++")
        ('bleu4', 'bleu4', 'pacspp')
    """
    for mark in "-_@":
        name = name.replace(mark, "")
    return name.lower().replace("++", "pp")


def known_as(name: str, known: Iterable[str]) -> str | None:
    """Which of the known names a spelling stands for: the same text if there is one, else the one that folds alike.

    Args:
        name: as someone wrote it.
        known: the names there are.

    Returns:
        The known name; None where there is none.

    Raises:
        InputError: several known names fold alike, and the spelling is none of them.
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
