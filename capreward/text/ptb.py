"""The PTB tokenizer of the caption evaluation, without Java.

Published values of BLEU, METEOR, ROUGE-L, CIDEr and SPICE use captions that were tokenized by Stanford's PTBTokenizer
3.4.1 as ``pycocoevalcap`` runs it: ``-preserveLines -lowerCase``, after which most punctuation is dropped (Chen et al.,
"Microsoft COCO Captions: Data Collection and Evaluation Server", 2015). This module returns the same strings. Its rules
are its own: they were found by giving texts to the original and reading its output. Two differences are known. First,
Java 17 does not know the capital U+2C2F and leaves it as it is in a web address. Second, if the quotation of a tag's
attribute ends in the next caption (``<a b="x`` before ``y">``), the original makes one token over the end of the line;
here a tag ends where its caption ends, even if captions see the next one.

Two habits of the original could be taken for mistakes of this module:

- brackets stay, as ``-lrb-`` and ``-rrb-``, since the list of dropped tokens has them in capitals;
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

# A caption with one of these goes to the lexer as a whole: blanks other than the space, and digits that are not ASCII.
_ODD = re.compile(
    "[\x00-\x1f\x85\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000、" + regex_span(DIGITS_RANGES) + "]",
)
# In other captions, a token or its look-ahead goes on after a space in four cases only: in numbers (telephones, 1 1/2),
# in a row of dots, after a dot that a letter or "No." keeps or loses depending on the next word, and in tags, which may
# have any length.
_LINK = re.compile(r"[0-9)] [0-9]|\. +\.")
_DIGITS_OR_BRACKET = frozenset("0123456789)")

# A chunk that needs no lexer: letters, hyphens and a comma; or letters and a full stop, unless it is a listed word.
_LETTER = f"A-Za-z{regex_span(LETTERS_RANGES)}"
_NO_LETTER = re.compile(f"[^{_LETTER}]")
_PLAIN = re.compile(f"([{_LETTER}]+(?:-[{_LETTER}]+)*),?|([{_LETTER}]{{2,}})\\.")
_FUSED = frozenset(first + rest for first, rest in FUSED)
_KNOWN = _FUSED.union(
    map(str.lower, (*ABBREVIATIONS, *CAPITALISED, *NEVER_SHOUTED, *NEVER_SHOUTED_TITLES, *NUMBERED, *TITLES))
)

_NUMBERED = frozenset(NUMBERED)

_MAX_CHUNKS = 200_000  # about 30 MB


def _join_kept_tokens(found: list[str]) -> str:
    if found:  # the caption evaluation strips each line, so that an unusual blank after http://a is removed
        found[-1] = found[-1].rstrip()
    return " ".join([token for token in found if token not in REMOVED])


def tokenize(text: str, following: str = "") -> str:
    r"""Tokenize one caption.

    Args:
        text: The caption. Characters that end a line for Java (``\n`` ``\r`` VT FF U+2028 U+2029) count as spaces; in
            the original, all of them but ``\n`` shift every later caption by one line.
        following: The next caption, see ``PTBTokenizer``.

    Returns:
        The tokens that are kept, in lower case, joined by single spaces; empty if no token is kept.
    """
    return _join_kept_tokens(tokens(text, following))


def _dot_needs_next_word(chunk: str) -> bool:
    """Return whether the meaning of the dot at the end of a chunk may depend on the next word."""
    if chunk[-1:] != "." or not (chunk[-2:-1].isascii() and chunk[-2:-1].isalpha()):
        return False
    return len(chunk) == 2 or chunk[:-1].lower() in _NUMBERED or bool(_NO_LETTER.search(chunk, 0, len(chunk) - 1))


class _ChunkCache(dict[str, str | None]):
    """Maps each chunk between spaces to its tokens; None for a chunk whose neighbours matter."""

    def __missing__(self, chunk: str) -> str | None:
        if len(self) >= _MAX_CHUNKS:
            self.clear()
        if plain := _PLAIN.fullmatch(chunk):
            word = lower(plain[plain.lastindex or 0])
            if word not in (_KNOWN if plain[2] else _FUSED):
                self[chunk] = word
                return word
        self[chunk] = result = None if "<" in chunk or _dot_needs_next_word(chunk) else tokenize(chunk)
        return result


def _independent_parts(caption: str) -> Iterator[str]:
    """Cut a caption at those spaces that no rule of the lexer looks across."""
    start = position = 0
    last = ""  # the latest chunk that is not empty
    for chunk in caption.split(" "):
        if last and chunk:
            both_numbers = last[-1] in _DIGITS_OR_BRACKET and chunk[0] in _DIGITS_OR_BRACKET
            if not (both_numbers or (last[-1] == chunk[0] == ".") or _dot_needs_next_word(last)):
                yield caption[start:position].strip(" ")
                start = position
        if "<" in chunk:
            break
        last = chunk or last
        position += len(chunk) + 1
    yield caption[start:]


class PTBTokenizer:
    """Tokenizes lists of captions; it equals ``tokenize`` on each and is faster, since captions repeat their words.

    Args:
        joined: If True, a caption sees the next one, as in the original, which puts all captions into one file and does
            not stop at the end of a line. This matters in two cases. After a single letter and a dot ("a letter K."),
            the dot is lost if the next caption starts with a word such as "The" (10 of 372,100 captions of the usual
            sets). After an abbreviation such as "No.", the dot is kept if the next caption starts with a digit. If
            False, the tokens of a caption depend on this caption alone.
    """

    name = "ptb"

    def __init__(self, joined: bool = False) -> None:
        self.joined = joined
        self._chunks = _ChunkCache()

    def __getstate__(self) -> dict[str, bool]:
        return {"joined": self.joined}

    def __setstate__(self, state: dict[str, bool]) -> None:
        self.joined = state["joined"]
        self._chunks = _ChunkCache()

    def __call__(self, captions: Sequence[str]) -> list[str]:
        """Tokenize captions.

        Args:
            captions: The N captions.

        Returns:
            N strings of tokens, joined by single spaces.
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
                *stretches, rest = _independent_parts(caption)
                parts = [chunks[stretch] if " " not in stretch else tokenize(stretch) for stretch in stretches]
                parts.append(tokenize(rest, following))
            results.append(" ".join([part for part in parts if part]))
        return results
