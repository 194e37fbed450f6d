"""The tokenizer into single characters, for languages that put no blanks between words."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache


class CharacterTokenizer:
    """Tokenizes captions into characters: ``"a 犬。"`` becomes ``"a 犬"``.

    Chinese, Japanese and Thai write no blanks between words, so that a tokenizer of words takes a sentence for one
    word. Letters are lower-cased. Blanks and punctuation (Unicode's category P) are dropped, as COCO's evaluation drops
    punctuation. Marks that combine with a letter stay with it.
    """

    name = "characters"

    def __call__(self, captions: Sequence[str]) -> list[str]:
        """Tokenize N captions."""
        return [" ".join(_characters(caption)) for caption in captions]


def _characters(caption: str) -> list[str]:
    found: list[str] = []
    for character in caption.lower():
        kind = _category(character)
        if kind == "M" and found:
            found[-1] += character
        elif kind not in "PZC":
            found.append(character)
    return found


@lru_cache(maxsize=65_536)
def _category(character: str) -> str:
    """Return the first letter of the Unicode category: L, M (marks), N, P, S, Z (blanks), C (control)."""
    return unicodedata.category(character)[0]
