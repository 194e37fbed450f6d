"""Captions as single characters, for languages that put no blanks between words."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache


class CharacterTokenizer:
    """Each character is a word: ``"a 犬。"`` is ``"a 犬"``.

    Chinese, Japanese and Thai write no blanks between words: a tokenizer of words takes a whole sentence for one.
    Letters are lower-cased; blanks and punctuation (Unicode's category P) are dropped, as COCO's evaluation drops them;
    marks that combine with a letter stay with it.
    """

    name = "characters"

    def __call__(self, captions: Sequence[str]) -> list[str]:
        """Tokenize N captions."""
        return [" ".join(_characters(caption)) for caption in captions]


def _characters(caption: str) -> list[str]:
    found: list[str] = []
    for character in caption.lower():
        kind = _kind(character)
        if kind == "M" and found:
            found[-1] += character
        elif kind not in "PZC":
            found.append(character)
    return found


@lru_cache(maxsize=65_536)
def _kind(character: str) -> str:
    """The first letter of the Unicode category: L, M (marks), N, P, S, Z (blanks), C (control)."""
    return unicodedata.category(character)[0]
