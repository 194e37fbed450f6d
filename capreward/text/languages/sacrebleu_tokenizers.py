"""The tokenizers of sacrebleu, which machine translation reports its numbers with."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from capreward.errors import InputError

JAPANESE = "ja-mecab"


class SacrebleuTokenizer:
    """Tokenizes captions in Unicode's form NFC by a tokenizer of sacrebleu; the case of letters stays as it is.

    Args:
        tokenizer: The name in sacrebleu: ``13a``, ``intl``, ``char``, ``zh`` or ``ja-mecab``.

    Attributes:
        name: The name and the version of sacrebleu, ``13a(sacrebleu:2.6.0)``.

    Raises:
        InputError: A package is missing; the message says how to install it.
    """

    def __init__(self, tokenizer: str) -> None:
        try:
            from sacrebleu import BLEU, __version__
        except ImportError as error:
            package = "sacrebleu[ja]" if tokenizer == JAPANESE else "capreward[languages]"
            raise InputError(
                f"the tokenizer {tokenizer} needs sacrebleu ({error}); type pip install '{package}'"
            ) from error
        try:
            self._tokenize = BLEU(tokenize=tokenizer).tokenizer
        except (RuntimeError, AssertionError) as error:  # sacrebleu's own, without MeCab or with another dictionary
            raise InputError(
                f"the tokenizer {tokenizer} needs MeCab with its IPA dictionary; type pip install 'sacrebleu[ja]'"
            ) from error
        self._given = tokenizer
        self.name = f"{tokenizer}(sacrebleu:{__version__})"

    def __reduce__(self) -> tuple[type[SacrebleuTokenizer], tuple[str]]:
        return SacrebleuTokenizer, (self._given,)  # MeCab's own object cannot be pickled

    def __call__(self, captions: Sequence[str]) -> list[str]:
        """Tokenize N captions."""
        # sacrebleu's BLEU removes white space at the end before it tokenizes, and splits the result at any white space.
        composed = (unicodedata.normalize("NFC", caption).rstrip() for caption in captions)
        return [" ".join(self._tokenize(caption).split()) for caption in composed]
