"""METEOR's text normaliser (``-norm``: split punctuation off, keep it, lower-case).

Captions arrive already PTB-tokenised, so what mostly acts here is the splitting of hyphens, of ``n't`` into ``n`` and
``'t``, and ``u.s.`` becoming ``us``. The order of the passes and their non-overlapping matches are part of the result.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_LETTER = (
    "A-Za-z\u0160\u0161\u017d\u017e\u0178\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u017e\u0400-\u04ff\u0500-\u0527"
    "\ua640-\ua66e\ua67e-\ua697\u1d00-\u1d7f"
)
# Vertical tab counts as white space when punctuation is isolated, but not when the text is cut into tokens.
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
    """Words that keep their final dot: always (``plain``) or before a number only (``numeric``). Case-sensitive."""

    plain: frozenset[str]
    numeric: frozenset[str]

    @classmethod
    def parse(cls, text: str) -> NonBreaking:
        """Read the non-breaking prefix list: one prefix per line, comments start with ``#``.

        Args:
            text: the file's contents; ``No #NUMERIC_ONLY#`` marks an entry that counts before a number only.
        """
        entries = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        numeric = frozenset(entry[0] for entry in entries if entry[1:] and entry[1].startswith("#NUMERIC_ONLY#"))
        return cls(frozenset(entry[0] for entry in entries) - numeric, numeric)


def normalize(text: str, prefixes: NonBreaking) -> tuple[str, ...]:
    """Cut a caption into METEOR's lower-case tokens.

    Args:
        text: one caption; line breaks count as spaces.
        prefixes: the words that keep a final dot.
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
