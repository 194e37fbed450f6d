"""References and candidates as n-gram arrays, which the evaluators that count n-grams share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capreward.samples import Samples
from capreward.text.ngrams import Counts, Grams, Ints, NgramTable, Numbers, Words, distinct, places_in_captions
from capreward.text.tokenizers import Tokenizer, tokenized_captions, tokenized_references

ORDER = 4


@dataclass(frozen=True)
class Postings:
    """The occurrences of the n-grams of one order in the references, sorted by item and then by n-gram.

    Attributes:
        key: The key of each posting, int64 [E]: item times ``size`` plus n-gram.
        reference: The reference of each posting, int32 [E].
        count: The number of occurrences of the n-gram in the reference, int32 [E].
        first: The place of its first occurrence in the reference, int32 [E].
        size: The bound of the numbers of n-grams: all are below it.
    """

    key: Ints
    reference: Numbers
    count: Numbers
    first: Numbers
    size: int

    @property
    def gram(self) -> Ints:
        """The n-gram of each posting."""
        return self.key % max(self.size, 1)

    @property
    def item(self) -> Ints:
        """The item of each posting."""
        return self.key // max(self.size, 1)

    @classmethod
    def of(cls, grams: Grams, offsets: Ints) -> Postings:
        """Count each n-gram in each reference.

        Args:
            grams: The n-grams of the R references.
            offsets: The start of each item's references among the R, int64 [M + 1].
        """
        item = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        most = max(1, int(np.diff(offsets).max(initial=0)))
        place = np.arange(len(item)) - offsets[:-1][item]  # the place of a reference among those of its item
        row_key = item * max(grams.size, 1) * most + place
        pairs, first, count = distinct(row_key[grams.row] + grams.gram * np.int64(most), places_in_captions(grams.row))
        key, place = np.divmod(pairs, most)
        reference = offsets[:-1][key // max(grams.size, 1)] + place
        return cls(key, reference.astype(np.int32), count.astype(np.int32), first.astype(np.int32), grams.size)


@dataclass(frozen=True)
class ReferenceGrams:
    """All R references of M items as n-grams.

    Attributes:
        table: The table of the n-grams that occur.
        words: The references as word numbers.
        postings: The occurrences of the n-grams, one entry per order.
        offsets: The start of each item's references among the R, int64 [M + 1].
        tokenizer: The tokenizer of the references.
    """

    table: NgramTable
    words: Words
    postings: list[Postings]
    offsets: Ints
    tokenizer: Tokenizer


@dataclass(frozen=True)
class Matches:
    """The pairs of an n-gram of a candidate and a reference of the candidate's item that has the n-gram.

    Attributes:
        entry: The place of the n-gram in the counts of the candidates, [H], ascending.
        posting: The place of the occurrence in the postings of the references, [H].
    """

    entry: Ints
    posting: Ints


@dataclass(frozen=True)
class CandidateGrams:
    """N candidates as n-grams, numbered by the table of their references.

    Attributes:
        words: The candidates as word numbers.
        counts: The counts of each n-gram in each candidate, one entry per order.
        matches: The references that have these n-grams too, one entry per order.
    """

    words: Words
    counts: list[Counts]
    matches: list[Matches]


def reference_offsets(references: list[list[str]]) -> Ints:
    """Return the start of each item's references among all references, int64 [M + 1]."""
    return np.cumsum([0, *map(len, references)], dtype=np.int64)


def reference_grams(samples: Samples, tokenizer: Tokenizer, order: int = ORDER) -> ReferenceGrams:
    """Count the n-grams up to an order in the references of all items, once per Samples."""

    def build() -> ReferenceGrams:
        references = tokenized_references(samples, tokenizer)
        offsets = reference_offsets(references)
        texts = [r for refs in references for r in refs]
        table, words, postings = NgramTable.build(texts, order, lambda grams: Postings.of(grams, offsets))
        return ReferenceGrams(table, words, postings, offsets, tokenizer)

    return samples.memo(("reference-grams", tokenizer.name, order), build)


def candidate_grams(samples: Samples, references: ReferenceGrams) -> CandidateGrams:
    """Count the candidates and find their n-grams in the references, once per Samples and set of references."""

    def build() -> CandidateGrams:
        words = references.table.encode(tokenized_captions(samples, references.tokenizer))
        counts = references.table.counts(words)
        matches = [_match_grams(c, samples.item, p) for c, p in zip(counts, references.postings, strict=True)]
        return CandidateGrams(words, counts, matches)

    return samples.memo("candidate-grams", build, given=references)


@dataclass(frozen=True)
class Pairs:
    """All pairs of a candidate and a reference of its item, candidate by candidate.

    Attributes:
        row: The candidate of each pair, [P].
        reference: The reference of each pair, [P].
        starts: The place where the pairs of each candidate start, [N].
        counts: The number of references of each candidate, [N].
    """

    row: Ints
    reference: Ints
    starts: Ints
    counts: Ints

    @classmethod
    def of(cls, item: npt.NDArray[np.int64], offsets: Ints) -> Pairs:
        """Return all pairs.

        Args:
            item: The item of each candidate, int64 [N].
            offsets: The start of each item's references, int64 [M + 1].
        """
        counts = np.diff(offsets)[item]
        starts = np.cumsum(counts) - counts
        row = np.repeat(np.arange(len(item)), counts)
        return cls(row, np.arange(len(row)) + np.repeat(offsets[:-1][item] - starts, counts), starts, counts)


def _match_grams(counts: Counts, item: Ints, postings: Postings) -> Matches:
    known = np.flatnonzero(counts.gram < postings.size)
    key = item[counts.row[known]] * max(postings.size, 1) + counts.gram[known]
    low = np.searchsorted(postings.key, key, side="left")
    hits = np.searchsorted(postings.key, key, side="right") - low
    before = np.cumsum(hits) - hits
    return Matches(np.repeat(known, hits), np.arange(hits.sum()) + np.repeat(low - before, hits))
