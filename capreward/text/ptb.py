"""The PTB tokenizer of the caption evaluation, without Java.

BLEU, METEOR, ROUGE-L, CIDEr and SPICE are published on captions that went through Stanford's PTBTokenizer 3.4.1 as
``pycocoevalcap`` runs it: ``-preserveLines -lowerCase``, then most punctuation is dropped (Chen et al., "Microsoft COCO
Captions: Data Collection and Evaluation Server", 2015). This module gives the same strings. Its rules are its own: they
were found by giving texts to the original and looking at what came back.

Two habits of the original that one might take for mistakes of this one:

- brackets stay, as ``-lrb-`` and ``-rrb-``, for the list of what is dropped has them in capitals;
- ``1 1/2`` becomes one token with a no-break space in it, which ``str.split()`` splits and ``split(" ")`` does not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

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

# A chunk of printable ASCII means the same in any company, unless it could be part of a tag, or ends in a dot that may
# belong to it or not, depending on what comes next.
_SAFE_CHUNK = re.compile(r"[!-;=?-~]*")
_OPEN_END = re.compile(rf"(?:^|[^A-Za-z])[A-Za-z]\.$|(?:{'|'.join(NUMBERED)})\.$", re.IGNORECASE)
# Only numbers join over a space: phone numbers and 1 1/2.
_NUMBERS = re.compile(r"[0-9)] [0-9]")

# A chunk that needs no lexer: letters, hyphens and a comma; or letters and a full stop, unless they are known words.
_PLAIN = re.compile(r"([A-Za-z]+(?:-[A-Za-z]+)*),?|([A-Za-z]{2,})\.")
_FUSED = frozenset(first + rest for first, rest in FUSED)
_KNOWN = _FUSED.union(
    map(str.lower, (*ABBREVIATIONS, *CAPITALISED, *NEVER_SHOUTED, *NEVER_SHOUTED_TITLES, *NUMBERED, *TITLES))
)

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


class _Chunks(dict[str, str | None]):
    """What each chunk between spaces becomes; None for those whose neighbours matter."""

    def __missing__(self, chunk: str) -> str | None:
        if len(self) >= _MAX_CHUNKS:
            self.clear()
        if plain := _PLAIN.fullmatch(chunk):
            word = plain[plain.lastindex or 0].lower()
            if word not in (_KNOWN if plain[2] else _FUSED):
                self[chunk] = word
                return word
        safe = _SAFE_CHUNK.fullmatch(chunk) and not _OPEN_END.search(chunk)
        self[chunk] = result = tokenize(chunk) if safe else None
        return result


class PTBTokenizer:
    """Tokenizes lists of captions; equal to ``tokenize`` on each, and faster, for captions repeat their words.

    Args:
        joined: let a caption see the one after it, as in the original, which puts all captions into one file and does
            not stop at the end of a line. This matters only after a single letter and a dot: "a letter K." loses
            the dot when the next caption starts with a word such as "The" (10 of 372,100 captions of the usual
            sets). Off, a caption's tokens depend on the caption alone.
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
            if caption.isascii() and caption.isprintable() and not _NUMBERS.search(caption):
                parts = [chunks[chunk] for chunk in caption.split(" ")]
                if None not in parts:
                    results.append(" ".join([part for part in parts if part]))
                    continue
            following = captions[i + 1] if self.joined and i + 1 < len(captions) else ""
            results.append(tokenize(caption, following))
        return results
