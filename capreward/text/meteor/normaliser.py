"""METEOR's text normaliser (``-norm``: it splits punctuation off, keeps it, and lower-cases the text).

Captions are already PTB-tokenised, so the passes that mostly matter split hyphens, split ``n't`` into ``n`` and ``'t``,
and turn ``u.s.`` into ``us``. The result depends on the order of the passes and on their non-overlapping matches.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LETTER = (
    "A-Za-z\u0160\u0161\u017d\u017e\u0178\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u017e\u0400-\u04ff\u0500-\u0527"
    "\ua640-\ua66e\ua67e-\ua697\u1d00-\u1d7f"
)
# A vertical tab counts as white space when punctuation is split off, but not when the text is cut into tokens.
_DELIMITERS = re.compile(r"[ \t\n\r\f]+")
_TRIMMED = "".join(map(chr, range(33)))
_SIMPLE = re.compile(r"[a-z0-9 ]*")
_HAS_LETTER = re.compile(f"[{_LETTER}]")
_UNICODE_SPACES = re.compile("[\u00a0\u2000-\u200a\u202f\u205f\u3000]+")

_PASSES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (f"([^{_LETTER}0-9 \\t\\n\\x0b\\f\\r.'`,\\-\u2018\u2019])", r" \1 "),
        (r"(\.\.+)", r" \1 "),
        (r"([^0-9]),([^0-9])", r"\1 , \2"),
        (r"([0-9]),([^0-9])", r"\1 , \2"),
        (r"([^0-9]),([0-9])", r"\1 , \2"),
        ("[`\u2018\u2019]", "'"),
        ("''|[\u201c\u201d]", ' " '),
        ("\u2013", "-"),
        ("--", "-"),
        (f"([{_LETTER}0-9.])-([{_LETTER}0-9])", r"\1 \2"),
        (f"([^{_LETTER}])'([^{_LETTER}])", r"\1 ' \2"),
        (f"([^{_LETTER}0-9])'([{_LETTER}])", r"\1 ' \2"),
        (f"([{_LETTER}])'([^{_LETTER}])", r"\1 ' \2"),
        (f"([{_LETTER}])'([{_LETTER}])", r"\1 '\2"),
        (r"([0-9])'(s)", r"\1 '\2"),
    )
)


@dataclass(frozen=True, slots=True)
class NonBreaking:
    """Words that keep their final dot; upper and lower case matter.

    Attributes:
        plain: The words that always keep their dot.
        numeric: The words that keep their dot only before a number.
    """

    plain: frozenset[str]
    numeric: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> NonBreaking:
        """Read the list of non-breaking prefixes, with one prefix per line; comments start with ``#``.

        Args:
            text: The text of the file; ``No #NUMERIC_ONLY#`` marks an entry that counts only before a number.
        """
        entries = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        numeric = frozenset(entry[0] for entry in entries if entry[1:] and entry[1].startswith("#NUMERIC_ONLY#"))
        return cls(frozenset(entry[0] for entry in entries) - numeric, numeric)


def normalize(text: str, prefixes: NonBreaking) -> tuple[str, ...]:
    """Cut a caption into METEOR's lower-case tokens.

    Args:
        text: The caption; line breaks count as spaces.
        prefixes: The words that keep a final dot.
    """
    if _SIMPLE.fullmatch(text):
        return tuple(text.split())
    text = f" {text.strip(_TRIMMED)} "
    for pattern, replacement in _PASSES:
        text = pattern.sub(replacement, text)
    text = " ".join(_split_dots(_tokens(text), prefixes))
    return tuple(_tokens(_UNICODE_SPACES.sub(" ", text).strip(_TRIMMED).lower()))


def _tokens(text: str) -> list[str]:
    return [token for token in _DELIMITERS.split(text) if token]


def _split_dots(tokens: list[str], prefixes: NonBreaking) -> list[str]:
    out: list[str] = []
    for token, following in zip(tokens, (*tokens[1:], ""), strict=False):
        stem = token[:-1]
        if token[-1] != "." or not stem.strip("."):
            out.append(token)
        elif "." in stem and _HAS_LETTER.search(stem):
            out.append(token.replace(".", ""))
        elif _keeps_dot(stem, following, prefixes):
            out.append(token)
        else:
            out += (stem, ".")
    return out


def _keeps_dot(stem: str, following: str, prefixes: NonBreaking) -> bool:
    if stem in prefixes.plain or "a" <= following[:1] <= "z":
        return True
    return stem in prefixes.numeric and "0" <= following[:1] <= "9"
