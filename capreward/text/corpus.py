"""References and candidates as n-gram arrays, shared by the evaluators that count n-grams."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from capreward.samples import Samples
from capreward.text.ngrams import Counts, Grams, NgramTable, Words
from capreward.text.tokenizers import tokenized_captions, tokenized_references

Ints = npt.NDArray[np.int64]

ORDER = 4


@dataclass(frozen=True)
class ReferenceGrams:
    """All references of M items as n-grams.

    Attributes:
        table: the n-grams that occur.
        words: the R references as word numbers.
        grams: per order, per position.
        offsets: int64 [M + 1], where each item's references start among the R.
        tokenizer: the name of the tokenizer they went through.
    """

    table: NgramTable
    words: Words
    grams: list[Grams]
    offsets: Ints
    tokenizer: str

    @cached_property
    def item(self) -> Ints:
        """The item of each reference, int64 [R]."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    @cached_property
    def counts(self) -> list[Counts]:
        """Per order the counts of each n-gram in each reference."""
        return [Counts.of(g) for g in self.grams]


@dataclass(frozen=True)
class CandidateGrams:
    """N candidates as n-grams in the numbering of their references' table.

    Attributes:
        words: the candidates as word numbers.
        counts: per order the counts of each n-gram in each candidate.
    """

    words: Words
    counts: list[Counts]


def reference_grams(samples: Samples, tokenizer: str) -> ReferenceGrams:
    """Count the references of all items, once per Samples."""

    def build() -> ReferenceGrams:
        references = tokenized_references(samples, tokenizer)
        offsets = np.zeros(len(references) + 1, dtype=np.int64)
        np.cumsum([len(r) for r in references], out=offsets[1:])
        table, words, grams = NgramTable.build([r for refs in references for r in refs], ORDER)
        return ReferenceGrams(table, words, grams, offsets, tokenizer)

    return samples.memo(("reference-grams", tokenizer), build)


def candidate_grams(samples: Samples, references: ReferenceGrams) -> CandidateGrams:
    """Count the candidates, once per Samples and set of references."""

    def build() -> tuple[ReferenceGrams, CandidateGrams]:
        words = references.table.encode(tokenized_captions(samples, references.tokenizer))
        counts = [Counts.of(g) for g in references.table.grams(words)]
        return references, CandidateGrams(words, counts)  # holding the references keeps their id from being reused

    return samples.memo(("candidate-grams", id(references)), build)[1]
