"""BLEU as pycocoevalcap computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.evaluators.base import Evaluator
from capreward.samples import Samples
from capreward.text.corpus import ORDER, ReferenceGrams, candidate_grams, reference_grams
from capreward.text.ngrams import Counts, Ints

Floats = npt.NDArray[np.float64]

SMALL = 1e-9  # pycocoevalcap's constants: they keep a factor without matches from being 0 and one without n-grams from
TINY = 1e-15  # being undefined


@dataclass(frozen=True)
class BleuReferences:
    """What BLEU needs of the references.

    Attributes:
        grams: the references as n-grams.
        keys: per order the sorted int64 pairs (item, n-gram).
        counts: per order the largest count of that n-gram in one reference of that item.
    """

    grams: ReferenceGrams
    keys: list[Ints]
    counts: list[Ints]


class Bleu(Evaluator):
    """BLEU-1 to BLEU-4 with the closest reference length (Papineni et al. 2002), equal to pycocoevalcap's.

    A caption's value is the same formula on its own counts, smoothed by pycocoevalcap's constants. Range [0, 1). The
    reward is BLEU-4, or BLEU-``only``.

    Args:
        only: give BLEU of this order alone (1 to 4) instead of all four.
        tokenizer: ``ptb``, ``ptb-java`` or ``none``.
    """

    needs = frozenset({"references"})

    def __init__(self, only: int | None = None, tokenizer: str = "ptb") -> None:
        if only not in (None, 1, 2, 3, 4):
            raise InputError(f"bleu has orders 1 to 4; found only={only!r}")
        self.only = only
        self.tokenizer = tokenizer
        self.name = f"bleu{only or ''}"
        self.columns = (self.name,) if only else tuple(f"bleu{n}" for n in range(1, ORDER + 1))
        self.main = len(self.columns) - 1

    def parameters(self) -> dict[str, object]:
        """Length rule and tokenizer."""
        return {"reflen": "closest", "tok": self.tokenizer}

    def prepare(self, samples: Samples) -> BleuReferences:
        """Count the references and keep each n-gram's largest count per item."""
        grams = reference_grams(samples, self.tokenizer)

        def build() -> BleuReferences:
            clipped = [_largest_counts(counts, grams.item) for counts in grams.counts]
            return BleuReferences(grams, [k for k, _ in clipped], [c for _, c in clipped])

        return samples.memo(("bleu", self.tokenizer), build)

    def statistics(self, samples: Samples, prepared: Any) -> Floats:
        """[N, 10]: matches and n-grams of orders 1 to 4, the caption's length and its closest reference's."""
        references: BleuReferences = prepared

        def build() -> tuple[BleuReferences, Floats]:
            return references, _statistics(samples, references)

        return samples.memo(("bleu-statistics", id(references)), build)[1]

    def finish(self, sums: Floats) -> Floats:
        """BLEU-1..4 (or the one asked for) of summed statistics [..., 10]."""
        value = bleu_from_statistics(sums)
        return value if self.only is None else value[..., self.only - 1 : self.only]


def bleu_from_statistics(sums: Floats) -> Floats:
    """BLEU-1..4 from matches and n-grams of each order and the two lengths: [..., 10] to [..., 4].

    The running product is raised to 1/n after each order and the brevity penalty multiplied last, in pycocoevalcap's
    order of operations.
    """
    correct, guess = sums[..., 0:ORDER], sums[..., ORDER : 2 * ORDER]
    product = np.cumprod((correct + TINY) / (guess + SMALL), axis=-1)
    value = product ** (1.0 / np.arange(1, ORDER + 1))
    ratio = (sums[..., 8] + TINY) / (sums[..., 9] + SMALL)
    with np.errstate(over="ignore"):
        penalty = np.where(ratio < 1, np.exp(np.minimum(1 - 1 / ratio, 0.0)), 1.0)
    return np.asarray(value * penalty[..., None])


def closest_lengths(lengths: Ints, item: Ints, reference_lengths: Ints, offsets: Ints) -> Ints:
    """For each caption the length of its item's reference that is closest to its own; the shorter one in a tie.

    Args:
        lengths: words per caption, [N].
        item: the item of each caption, [N].
        reference_lengths: words per reference, [R].
        offsets: where each item's references start, [M + 1].

    Returns:
        int64 [N]; every item must have a reference.
    """
    n_refs = np.diff(offsets)[item]
    starts = np.cumsum(n_refs) - n_refs
    caption = np.repeat(np.arange(len(item)), n_refs)
    candidates = reference_lengths[offsets[:-1][item][caption] + np.arange(len(caption)) - starts[caption]]
    bound = int(reference_lengths.max(initial=0)) + 1
    distance = np.abs(candidates - lengths[caption]) * bound + candidates
    return np.asarray(np.minimum.reduceat(distance, starts) % bound) if len(item) else lengths


def _largest_counts(counts: Counts, item: Ints) -> tuple[Ints, Ints]:
    key = item[counts.row] * max(counts.size, 1) + counts.gram
    order = np.argsort(key, kind="stable")
    sorted_keys = key[order]
    starts = np.flatnonzero(np.diff(sorted_keys, prepend=-1))
    if not len(starts):
        return sorted_keys, counts.count
    return sorted_keys[starts], np.maximum.reduceat(counts.count[order], starts)


def _statistics(samples: Samples, references: BleuReferences) -> Floats:
    candidates = candidate_grams(samples, references.grams)
    lengths = candidates.words.lengths
    table = np.zeros((len(samples), 2 * ORDER + 2))
    for n, counts in enumerate(candidates.counts):
        size = references.grams.table.sizes[n]
        clipped = _clip(counts, samples.item, references.keys[n], references.counts[n], size)
        table[:, n] = np.bincount(counts.row, weights=clipped, minlength=len(samples))
        table[:, ORDER + n] = np.maximum(lengths - n, 0)
    table[:, 2 * ORDER] = lengths
    reference_lengths = references.grams.words.lengths
    table[:, 2 * ORDER + 1] = closest_lengths(lengths, samples.item, reference_lengths, references.grams.offsets)
    return table


def _clip(counts: Counts, item: Ints, keys: Ints, largest: Ints, size: int) -> Ints:
    """Each n-gram's count, at most its largest count in a reference of the item; 0 for n-grams in none."""
    if not len(keys):
        return np.zeros(len(counts.row), dtype=np.int64)
    key = item[counts.row] * max(size, 1) + counts.gram
    place = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
    known = (keys[place] == key) & (counts.gram < size)
    return np.where(known, np.minimum(counts.count, largest[place]), 0)
