"""BLEU as pycocoevalcap computes it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.evaluators.base import Evaluator
from capreward.samples import Samples
from capreward.text.ngram_corpus import ORDER, Pairs, ReferenceGrams, candidate_grams, reference_grams
from capreward.text.tokenizers import Tokenizer, tokenizer_of

Floats = npt.NDArray[np.float64]

SMALL = 1e-9  # pycocoevalcap's constants: SMALL keeps a factor without n-grams from being undefined,
TINY = 1e-15  # and TINY keeps a factor without matches from being 0


class Bleu(Evaluator):
    """BLEU-1 to BLEU-4 with the closest reference length (Papineni et al. 2002), equal to pycocoevalcap's.

    A caption's value is the same formula on its own counts, smoothed by pycocoevalcap's constants. The range is [0, 1).
    The reward is BLEU-4, or BLEU-``only``.

    Args:
        only: The one order to compute (1 to 4); None computes all four.
        tokenizer: The tokenizer: ``ptb`` (default), ``ptb-java``, ``none``, or a tokenizer object.
    """

    needs = frozenset({"references"})

    def __init__(self, only: int | None = None, tokenizer: str | Tokenizer = "ptb") -> None:
        if only not in (None, 1, 2, 3, 4):
            raise InputError(f"bleu has orders 1 to 4; found only={only!r}")
        self.only = only
        self.tokenizer = tokenizer_of(tokenizer)
        self.name = f"bleu{only or ''}"
        self.columns = (self.name,) if only else tuple(f"bleu{n}" for n in range(1, ORDER + 1))
        self.main = len(self.columns) - 1

    def parameters(self) -> dict[str, object]:
        """Return the length rule and the tokenizer."""
        return {"reflen": "closest", "tok": self.tokenizer.name}

    def prepare(self, samples: Samples) -> ReferenceGrams:
        """Count the references' n-grams."""
        return reference_grams(samples, self.tokenizer)

    def statistics(self, samples: Samples, prepared: Any) -> Floats:
        """Return [N, 10]: matches and n-grams of orders 1 to 4, the caption's length and its closest reference's."""
        return samples.memo("bleu-statistics", lambda: _statistics(samples, prepared), given=prepared)

    def finish(self, sums: Floats) -> Floats:
        """Return BLEU-1..4, or the order in ``only``, of summed statistics [..., 10]."""
        value = bleu_from_statistics(sums)
        return value if self.only is None else value[..., self.only - 1 : self.only]


class BleuAverage(Bleu):
    """The mean of BLEU-1 to BLEU-4, for captions as well as for the corpus; range [0, 1).

    The corpus value is the mean of the four corpus values, which is no mean over captions.

    Args:
        tokenizer: The tokenizer: ``ptb`` (default), ``ptb-java``, ``none``, or a tokenizer object.
    """

    def __init__(self, tokenizer: str | Tokenizer = "ptb") -> None:
        super().__init__(tokenizer=tokenizer)
        self.name = "bleu-avg"
        self.columns = (self.name,)
        self.main = 0

    def finish(self, sums: Floats) -> Floats:
        """Return the mean of BLEU-1..4 of summed statistics [..., 10] as [..., 1]."""
        return np.asarray(bleu_from_statistics(sums).mean(axis=-1, keepdims=True))


def bleu_from_statistics(sums: Floats) -> Floats:
    """Return BLEU-1..4 from matches and n-grams of each order and the two lengths: [..., 10] to [..., 4].

    The running product is raised to 1/n after each order and the brevity penalty is multiplied last: this is
    pycocoevalcap's order of operations.
    """
    correct, guess = sums[..., 0:ORDER], sums[..., ORDER : 2 * ORDER]
    product = np.cumprod((correct + TINY) / (guess + SMALL), axis=-1)
    ratio = (sums[..., 8] + TINY) / (sums[..., 9] + SMALL)
    exponents = np.broadcast_to(1.0 / np.arange(1, ORDER + 1), product.shape)
    # Python's own power and exponential: numpy's differ in the last bit in one of twenty values.
    value = np.reshape(list(map(pow, product.ravel().tolist(), exponents.ravel().tolist())), product.shape)
    penalty = [math.exp(1 - 1 / r) if r < 1 else 1.0 for r in ratio.ravel().tolist()]
    return np.asarray(value * np.reshape(penalty, ratio.shape)[..., None])


def _statistics(samples: Samples, references: ReferenceGrams) -> Floats:
    candidates = candidate_grams(samples, references)
    lengths = candidates.words.lengths
    table = np.zeros((len(samples), 2 * ORDER + 2))
    for n, (counts, matches) in enumerate(zip(candidates.counts, candidates.matches, strict=True)):
        starts = np.flatnonzero(np.diff(matches.entry, prepend=-1))
        if len(starts):
            entry = matches.entry[starts]
            most = np.maximum.reduceat(references.postings[n].count[matches.posting], starts)
            clipped = np.minimum(counts.count[entry], most)
            table[:, n] = np.bincount(counts.row[entry], weights=clipped, minlength=len(samples))
        table[:, ORDER + n] = np.maximum(lengths - n, 0)
    table[:, 2 * ORDER] = lengths
    pairs = Pairs.of(samples.item, references.offsets)
    table[:, 2 * ORDER + 1] = closest_lengths(lengths, references.words.lengths, pairs)
    return table


def closest_lengths(lengths: npt.NDArray[np.int64], reference_lengths: npt.NDArray[np.int64], pairs: Pairs) -> Floats:
    """Return for each caption the length of the reference closest to its own; the shorter one in a tie.

    Args:
        lengths: The number of words per caption, [N].
        reference_lengths: The number of words per reference, [R].
        pairs: The references of each caption, at least one.

    Returns:
        The lengths, float64 [N].
    """
    if not len(lengths):
        return np.zeros(0)
    theirs = reference_lengths[pairs.reference]
    bound = int(theirs.max()) + 1
    distance = np.abs(theirs - lengths[pairs.row]) * bound + theirs
    return (np.minimum.reduceat(distance, pairs.starts) % bound).astype(np.float64)
