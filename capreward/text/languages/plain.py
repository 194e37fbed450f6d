"""Tokenizers that need no other package: words between white space, and the syllables of Vietnamese."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache


class WhitespaceTokenizer:
    """Splits captions at white space: ``"A Dog, RUNNING."`` becomes ``"a dog, running."``.

    Letters are lower-cased and in Unicode's form NFC, so that a letter with a mark is one character however it was
    typed. Punctuation is kept as it is written.
    """

    name = "whitespace"

    def __call__(self, captions: Sequence[str]) -> list[str]:
        """Tokenize N captions."""
        return [" ".join(lower_composed(caption).split()) for caption in captions]


class SyllableTokenizer:
    """Splits Vietnamese captions into syllables: ``"Một con chó, đang chạy."`` becomes ``"một con chó đang chạy"``.

    Vietnamese writes a blank after every syllable, also within a word. Letters are lower-cased and in Unicode's form
    NFC. Punctuation (Unicode's category P) is dropped, as COCO's evaluation drops it, and ends a syllable, so that
    ``vi-ô-lông`` has three.
    """

    name = "syllable"

    def __call__(self, captions: Sequence[str]) -> list[str]:
        """Tokenize N captions."""
        return [" ".join(_without_punctuation(lower_composed(caption)).split()) for caption in captions]


def lower_composed(text: str) -> str:
    """Return a text in lower case and in Unicode's form NFC; lower-casing can leave a mark that NFC composes."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())


def _without_punctuation(text: str) -> str:
    return "".join(" " if _is_punctuation(character) else character for character in text)


@lru_cache(maxsize=65_536)
def _is_punctuation(character: str) -> bool:
    return unicodedata.category(character).startswith("P")
