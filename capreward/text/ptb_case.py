"""Lower case as Java writes it, which differs from Python's in when a sigma is the last letter of its word."""

from __future__ import annotations

import re
import unicodedata

_IDEOGRAPHS = re.compile("[\u3005\u3041-\u3096\u309b-\u309f\u30a1-\u30fa\u30fb-\u30ff\u4e00-\u9fff\uf900-\ufaff]")
_BETWEEN_BOTH = frozenset("\"'.")  # may stand between two letters or between two digits of one word
_BETWEEN_LETTERS = frozenset("_·\u1806\u058a\u05be")  # and so may every dash
_BETWEEN_DIGITS = frozenset(",٫")
_WORD = re.compile("(?:L[MF]*(?:[BP]F*(?=L))?|D[MF]*(?:[BN]F*(?=D))?)+")
_CATEGORIES = {"L": "L", "N": "D", "M": "M", "C": "M"}


def _kind(c: str) -> str:
    """File a character for the splitting into words: letter, digit, mark, format (a soft hyphen), or what may join."""
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
        token: any text.

    Returns:
        The text in lower case. A capital sigma becomes a final one when cased letters come before it in the same word
        and none after it; Java's words may hold a hyphen, a dot or an apostrophe, and end where ideographs begin.
    """
    if "Σ" not in token:
        return token.lower()
    out = list(token)
    for word in _WORD.finditer("".join(map(_kind, token))):
        start, end = word.span()
        cased = [i for i in range(start, end) if _cased(token[i])]
        if len(cased) > 1 and token[cased[-1]] == "Σ":
            out[cased[-1]] = "ς"
    return "".join(out).replace("Σ", "σ").lower()
