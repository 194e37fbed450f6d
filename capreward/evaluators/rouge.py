"""ROUGE-L as pycocoevalcap computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from capreward.evaluators.base import Evaluator
from capreward.samples import Samples
from capreward.text.corpus import Pairs, reference_offsets
from capreward.text.lcs import lcs_lengths
from capreward.text.ngrams import Ints, Words, number_words
from capreward.text.tokenizers import Tokenizer, tokenized_captions, tokenized_references, tokenizer_of

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RougeReferences:
    """The references as word numbers; words are split at single blanks, so that '' is one empty word.

    Attributes:
        vocabulary: A mapping from word to number.
        words: The words of the R references.
        offsets: The index where each item's references start, int64 [M + 1].
    """

    vocabulary: dict[str, int]
    words: Words
    offsets: Ints


class Rouge(Evaluator):
    """ROUGE-L with beta 1.2 (Lin 2004), equal to pycocoevalcap's; range [0, 1].

    Precision and recall are each the best over the references, independently; two empty captions match.

    Args:
        beta: The weight of recall.
        tokenizer: The tokenizer: ``ptb`` (default), ``ptb-java``, ``none``, or a tokenizer object.
    """

    name = "rouge"
    needs = frozenset({"references"})

    def __init__(self, beta: float = 1.2, tokenizer: str | Tokenizer = "ptb") -> None:
        self.beta = float(beta)
        self.tokenizer = tokenizer_of(tokenizer)

    def parameters(self) -> dict[str, object]:
        """Return beta and tokenizer."""
        return {"beta": f"{self.beta:g}", "tok": self.tokenizer.name}

    def prepare(self, samples: Samples) -> RougeReferences:
        """Number the references' words."""
        references = tokenized_references(samples, self.tokenizer)
        vocabulary: dict[str, int] = {}
        words = number_words([r for refs in references for r in refs], vocabulary, grow=True, separator=" ")
        return RougeReferences(vocabulary, words, reference_offsets(references))

    def values(self, samples: Samples, prepared: Any) -> Floats:
        """Return the F measure of the longest common subsequences, [N]."""
        references: RougeReferences = prepared
        if not len(samples):
            return np.zeros(0)
        texts = tokenized_captions(samples, self.tokenizer)
        candidates = number_words(texts, references.vocabulary, grow=False, separator=" ")
        pairs = Pairs.of(samples.item, references.offsets)
        common = lcs_lengths(candidates, references.words, pairs)
        precision = np.maximum.reduceat(common / candidates.lengths[pairs.row], pairs.starts)
        recall = np.maximum.reduceat(common / references.words.lengths[pairs.reference], pairs.starts)
        return f_measure(precision, recall, self.beta)


def f_measure(precision: Floats, recall: Floats, beta: float = 1.2) -> Floats:
    """Return (1 + beta^2) P R / (R + beta^2 P), or 0 where P or R is 0; all arrays have one shape."""
    both = (precision != 0) & (recall != 0)
    bottom = np.where(both, recall + beta**2 * precision, 1.0)
    return np.where(both, (1 + beta**2) * precision * recall / bottom, 0.0)
