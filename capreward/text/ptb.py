"""The PTB tokenizer of the caption evaluation, without Java.

BLEU, METEOR, ROUGE-L, CIDEr and SPICE are published on captions that went through Stanford's PTBTokenizer 3.4.1 as
``pycocoevalcap`` runs it: ``-preserveLines -lowerCase``, then most punctuation is dropped (Chen et al., "Microsoft COCO
Captions: Data Collection and Evaluation Server", 2015). This module gives the same strings. Its rules are its own: they
were found by giving texts to the original and looking at what came back. Two differences are known. One is Java's:
version 17 does not know the capital U+2C2F and leaves it as it is in a web address. The other is that a tag whose
attribute's quotation ends in the next caption (``<a b="x`` before ``y">``) is one token over the end of the line in the
original; here a tag ends where its caption does, even where captions see the next one.

Two habits of the original that one might take for mistakes of this one:

- brackets stay, as ``-lrb-`` and ``-rrb-``, for the list of what is dropped has them in capitals;
- ``1 1/2`` becomes one token with a no-break space in it, which ``str.split()`` splits and ``split(" ")`` does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from capreward.text.ptb_case import lower
from capreward.text.ptb_characters import DIGITS_RANGES, LETTERS_RANGES, regex_span
from capreward.text.ptb_lexer import tokens
from capreward.text.ptb_words import (
    ABBREVIATIONS,
    CAPITALISED,
    FUSED,
    NEVER_SHOUTED,
    NEVER_SHOUTED_TITLES,
    NUMBERED,
    TITLES,
)

__all__ = ["PTBTokenizer", "tokenize", "tokens"]

REMOVED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"])

# With these in a caption the whole of it goes to the lexer: blanks but the space, and digits but those of ASCII.
_ODD = re.compile(
    "[\x00-\x1f\x85\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000、" + regex_span(DIGITS_RANGES) + "]",
)
# Else a token, or what it looks at, goes on after a space only in numbers (telephones, 1 1/2), in dots in a row, after
# a dot that the next word may take away from a letter or leave to "No.", and in tags, which go on for as long as they
# like.
_LINK = re.compile(r"[0-9)] [0-9]|\. +\.")
_DIGITS_OR_BRACKET = frozenset("0123456789)")

# A chunk that needs no lexer: letters, hyphens and a comma; or letters and a full stop, unless they are known words.
_LETTER = f"A-Za-z{regex_span(LETTERS_RANGES)}"
_NO_LETTER = re.compile(f"[^{_LETTER}]")
_PLAIN = re.compile(f"([{_LETTER}]+(?:-[{_LETTER}]+)*),?|([{_LETTER}]{{2,}})\\.")
_FUSED = frozenset(first + rest for first, rest in FUSED)
_KNOWN = _FUSED.union(
    map(str.lower, (*ABBREVIATIONS, *CAPITALISED, *NEVER_SHOUTED, *NEVER_SHOUTED_TITLES, *NUMBERED, *TITLES))
)

_NUMBERED = frozenset(NUMBERED)

_MAX_CHUNKS = 200_000  # about 30 MB


def _kept(found: list[str]) -> str:
    if found:  # the caption evaluation strips what it reads: http://a and an odd blank leave http://a
        found[-1] = found[-1].rstrip()
    return " ".join([token for token in found if token not in REMOVED])


def tokenize(text: str, following: str = "") -> str:
    r"""Tokenize one caption.

    Args:
        text: the caption. Characters that end a line for Java (``\n`` ``\r`` VT FF U+2028 U+2029) count as spaces; in
            the original all of them but ``\n`` shift every later caption by one line.
        following: the caption after it, see ``PTBTokenizer``.

    Returns:
        The tokens that are kept, in lower case, joined by single spaces; empty when nothing is kept.
    """
    return _kept(tokens(text, following))


def _open(chunk: str) -> bool:
    """Whether the next word may have a say in what the dot at the end of this chunk is."""
    if chunk[-1:] != "." or not (chunk[-2:-1].isascii() and chunk[-2:-1].isalpha()):
        return False
    return len(chunk) == 2 or chunk[:-1].lower() in _NUMBERED or bool(_NO_LETTER.search(chunk, 0, len(chunk) - 1))


class _Chunks(dict[str, str | None]):
    """What each chunk between spaces becomes; None for those whose neighbours matter."""

    def __missing__(self, chunk: str) -> str | None:
        if len(self) >= _MAX_CHUNKS:
            self.clear()
        if plain := _PLAIN.fullmatch(chunk):
            word = lower(plain[plain.lastindex or 0])
            if word not in (_KNOWN if plain[2] else _FUSED):
                self[chunk] = word
                return word
        self[chunk] = result = None if "<" in chunk or _open(chunk) else tokenize(chunk)
        return result


def _stretches(caption: str) -> Iterator[str]:
    """Cut a caption at the spaces over which no rule of the lexer looks."""
    start = position = 0
    last = ""  # the last chunk that is not empty
    for chunk in caption.split(" "):
        if last and chunk:
            both_numbers = last[-1] in _DIGITS_OR_BRACKET and chunk[0] in _DIGITS_OR_BRACKET
            if not (both_numbers or (last[-1] == chunk[0] == ".") or _open(last)):
                yield caption[start:position].strip(" ")
                start = position
        if "<" in chunk:
            break
        last = chunk or last
        position += len(chunk) + 1
    yield caption[start:]


class PTBTokenizer:
    """Tokenizes lists of captions; equal to ``tokenize`` on each, and faster, for captions repeat their words.

    Args:
        joined: let a caption see the one after it, as in the original, which puts all captions into one file and does
            not stop at the end of a line. This matters only after a single letter and a dot, "a letter K.", which
            loses the dot when the next caption starts with a word such as "The" (10 of 372,100 captions of the usual
            sets), and after an abbreviation such as "No.", which keeps it when the next starts with a digit. Off, a
            caption's tokens depend on the caption alone.
    """

    name = "ptb"

    def __init__(self, joined: bool = False) -> None:
        self.joined = joined
        self._chunks = _Chunks()

    def __getstate__(self) -> dict[str, bool]:
        return {"joined": self.joined}

    def __setstate__(self, state: dict[str, bool]) -> None:
        self.joined = state["joined"]
        self._chunks = _Chunks()

    def __call__(self, captions: Sequence[str]) -> list[str]:
        """Tokenize captions.

        Args:
            captions: N captions.

        Returns:
            N strings of tokens joined by single spaces.
        """
        chunks = self._chunks
        results = []
        for i, caption in enumerate(captions):
            following = captions[i + 1] if self.joined and i + 1 < len(captions) else ""
            if _ODD.search(caption):
                results.append(tokenize(caption, following))
                continue
            parts = [chunks[chunk] for chunk in caption.split(" ")]
            if None in parts or _LINK.search(caption):
                *stretches, rest = _stretches(caption)
                parts = [chunks[stretch] if " " not in stretch else tokenize(stretch) for stretch in stretches]
                parts.append(tokenize(rest, following))
            results.append(" ".join([part for part in parts if part]))
        return results
