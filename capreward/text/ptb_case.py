"""Lower case by Java's rules, which differ from Python's for a sigma at the end of a word."""

from __future__ import annotations

import re
import unicodedata

_IDEOGRAPHS = re.compile("[\u3005\u3041-\u3096\u309b-\u309f\u30a1-\u30fa\u30fb-\u30ff\u4e00-\u9fff\uf900-\ufaff]")
_BETWEEN_BOTH = frozenset("\"'.")  # these may stand between two letters or between two digits of one word
_BETWEEN_LETTERS = frozenset("_·\u1806\u058a\u05be")  # these and every dash may stand between two letters
_BETWEEN_DIGITS = frozenset(",٫")
_WORD = re.compile("(?:L[MF]*(?:[BP]F*(?=L))?|D[MF]*(?:[BN]F*(?=D))?)+")
_CATEGORIES = {"L": "L", "N": "D", "M": "M", "C": "M"}


def _word_class(c: str) -> str:
    """Return the class of a character for the splitting into words: letter, digit, mark, format, joiner or other."""
    if c in _BETWEEN_BOTH:
        return "B"
    if c in _BETWEEN_DIGITS:
        return "N"
    category = unicodedata.category(c)
    if c in _BETWEEN_LETTERS or category in {"Pd", "Pc"}:
        return "P"
    if category == "Cf":
        return "F"
    if category == "Cc" or _IDEOGRAPHS.match(c):
        return "O"
    return _CATEGORIES.get(category[0], "O")


def _cased(c: str) -> bool:
    return c.isupper() or c.islower() or c.istitle()


def lower(token: str) -> str:
    """Lower-case a token.

    Args:
        token: The text.

    Returns:
        The text in lower case. A capital sigma becomes a final sigma if cased letters stand before it in the same word
        and none after it. By Java's rules, a word may hold a hyphen, a dot or an apostrophe, and ends where ideographs
        begin.
    """
    if "Σ" not in token:
        return token.lower()
    out = list(token)
    for word in _WORD.finditer("".join(map(_word_class, token))):
        start, end = word.span()
        cased = [i for i in range(start, end) if _cased(token[i])]
        if len(cased) > 1 and token[cased[-1]] == "Σ":
            out[cased[-1]] = "ς"
    return "".join(out).replace("Σ", "σ").lower()
