"""References and candidates as n-gram arrays, shared by the evaluators that count n-grams."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capreward.samples import Samples
from capreward.text.ngrams import Counts, Grams, Ints, NgramTable, Numbers, Words, distinct, places
from capreward.text.tokenizers import Tokenizer, tokenized_captions, tokenized_references

ORDER = 4


@dataclass(frozen=True)
class Postings:
    """Where each n-gram of one order occurs in the references, sorted by item, then n-gram.

    Attributes:
        key: int64 [E], item times ``size`` plus n-gram.
        reference: int32 [E], the reference.
        count: int32 [E], how often it occurs there.
        first: int32 [E], the place of the first of them.
        size: all n-gram numbers are below it.
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
        """Count each n-gram in each reference, given where each item's references start."""
        item = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        most = max(1, int(np.diff(offsets).max(initial=0)))
        place = np.arange(len(item)) - offsets[:-1][item]  # of a reference among its item's
        row_key = item * max(grams.size, 1) * most + place
        pairs, first, count = distinct(row_key[grams.row] + grams.gram * np.int64(most), places(grams.row))
        key, place = np.divmod(pairs, most)
        reference = offsets[:-1][key // max(grams.size, 1)] + place
        return cls(key, reference.astype(np.int32), count.astype(np.int32), first.astype(np.int32), grams.size)


@dataclass(frozen=True)
class ReferenceGrams:
    """All R references of M items as n-grams.

    Attributes:
        table: the n-grams that occur.
        words: the references as word numbers.
        postings: per order, where each n-gram occurs.
        offsets: int64 [M + 1], where each item's references start among the R.
        tokenizer: what they went through.
    """

    table: NgramTable
    words: Words
    postings: list[Postings]
    offsets: Ints
    tokenizer: Tokenizer


@dataclass(frozen=True)
class Matches:
    """Pairs of a candidate's n-gram and a reference of its item that has it.

    Attributes:
        entry: [H], the place in the candidates' counts, ascending.
        posting: [H], the place in the references' postings.
    """

    entry: Ints
    posting: Ints


@dataclass(frozen=True)
class CandidateGrams:
    """N candidates as n-grams in the numbering of their references' table.

    Attributes:
        words: the candidates as word numbers.
        counts: per order the counts of each n-gram in each candidate.
        matches: per order where the references have them too.
    """

    words: Words
    counts: list[Counts]
    matches: list[Matches]


def reference_offsets(references: list[list[str]]) -> Ints:
    """Where each item's references start, int64 [M + 1]."""
    return np.cumsum([0, *map(len, references)], dtype=np.int64)


def reference_grams(samples: Samples, tokenizer: Tokenizer) -> ReferenceGrams:
    """Count the references of all items, once per Samples."""

    def build() -> ReferenceGrams:
        references = tokenized_references(samples, tokenizer)
        offsets = reference_offsets(references)
        texts = [r for refs in references for r in refs]
        table, words, postings = NgramTable.build(texts, ORDER, lambda grams: Postings.of(grams, offsets))
        return ReferenceGrams(table, words, postings, offsets, tokenizer)

    return samples.memo(("reference-grams", tokenizer.name), build)


def candidate_grams(samples: Samples, references: ReferenceGrams) -> CandidateGrams:
    """Count the candidates and find their n-grams in the references, once per Samples and set of references."""

    def build() -> CandidateGrams:
        words = references.table.encode(tokenized_captions(samples, references.tokenizer))
        counts = references.table.counts(words)
        matches = [_match(c, samples.item, p) for c, p in zip(counts, references.postings, strict=True)]
        return CandidateGrams(words, counts, matches)

    return samples.memo("candidate-grams", build, given=references)


@dataclass(frozen=True)
class Pairs:
    """Every pair of a candidate and a reference of its item, candidate by candidate.

    Attributes:
        row: [P], the candidate.
        reference: [P], the reference.
        starts: [N], where each candidate's pairs start.
        counts: [N], the references of each candidate.
    """

    row: Ints
    reference: Ints
    starts: Ints
    counts: Ints

    @classmethod
    def of(cls, item: npt.NDArray[np.int64], offsets: Ints) -> Pairs:
        """All pairs, given the item of each candidate and where each item's references start."""
        counts = np.diff(offsets)[item]
        starts = np.cumsum(counts) - counts
        row = np.repeat(np.arange(len(item)), counts)
        return cls(row, np.arange(len(row)) + np.repeat(offsets[:-1][item] - starts, counts), starts, counts)


def _match(counts: Counts, item: Ints, postings: Postings) -> Matches:
    known = np.flatnonzero(counts.gram < postings.size)
    key = item[counts.row[known]] * max(postings.size, 1) + counts.gram[known]
    low = np.searchsorted(postings.key, key, side="left")
    hits = np.searchsorted(postings.key, key, side="right") - low
    before = np.cumsum(hits) - hits
    return Matches(np.repeat(known, hits), np.arange(hits.sum()) + np.repeat(low - before, hits))
