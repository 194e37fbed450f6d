"""Evaluators that detect degenerate captions: repetition and length."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.evaluators.base import Evaluator
from capreward.samples import Samples
from capreward.text.ngrams import Counts, NgramTable, Words
from capreward.text.tokenizers import Tokenizer, tokenized_captions, tokenizer_of

Floats = npt.NDArray[np.float64]

ORDER = 4


class Repetition(Evaluator):
    """The share of a caption's n-grams that repeat an earlier one, mean over n = 1 to 4; range [0, 1), lower is better.

    For one order it is 1 - distinct/all (seq-rep-n of Welleck et al. 2020); an order without any n-gram in the caption
    counts 0. A policy can exploit rewards that look at the image alone by repetition; subtract this.

    Args:
        n: The one order to compute (1 to 4); None takes the mean of all four.
        tokenizer: The tokenizer: ``ptb`` (default), ``ptb-java``, ``none``, or a tokenizer object.
    """

    name = "repetition"
    higher_is_better = False

    def __init__(self, n: int | None = None, tokenizer: str | Tokenizer = "ptb") -> None:
        if n not in (None, 1, 2, 3, 4):
            raise InputError(f"repetition has orders 1 to 4; found n={n!r}")
        self.n = n
        self.tokenizer = tokenizer_of(tokenizer)

    def parameters(self) -> dict[str, object]:
        """Return order and tokenizer."""
        return {"n": self.n or "1-4", "tok": self.tokenizer.name}

    def values(self, samples: Samples, prepared: Any) -> Floats:
        """Return the shares [N]."""
        words, counts = caption_counts(samples, self.tokenizer)
        shares = []
        for n, order in enumerate(counts, start=1):
            total = np.maximum(words.lengths - n + 1, 0)
            distinct = np.bincount(order.row, minlength=len(samples))
            shares.append(np.where(total > 0, 1 - distinct / np.maximum(total, 1), 0.0))
        return np.asarray(np.mean(shares, axis=0) if self.n is None else shares[self.n - 1])


class Length(Evaluator):
    """The number of words per caption, after tokenization without punctuation.

    Args:
        tokenizer: The tokenizer: ``ptb`` (default), ``ptb-java``, ``none``, or a tokenizer object.
    """

    name = "length"
    higher_is_better = None
    is_share = False

    def __init__(self, tokenizer: str | Tokenizer = "ptb") -> None:
        self.tokenizer = tokenizer_of(tokenizer)

    def parameters(self) -> dict[str, object]:
        """Return the tokenizer."""
        return {"tok": self.tokenizer.name}

    def values(self, samples: Samples, prepared: Any) -> Floats:
        """Return the numbers of words [N]."""
        return caption_counts(samples, self.tokenizer)[0].lengths.astype(np.float64)


def caption_counts(samples: Samples, tokenizer: Tokenizer) -> tuple[Words, list[Counts]]:
    """Return the captions as word numbers and their n-gram counts of orders 1 to 4, made once per Samples."""

    def build() -> tuple[Words, list[Counts]]:
        _, words, counts = NgramTable.build(tokenized_captions(samples, tokenizer), ORDER, Counts.of)
        return words, counts

    return samples.memo(("caption-counts", tokenizer.name), build)
