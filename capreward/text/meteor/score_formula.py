"""The formula of METEOR 1.5's score, for a caption and for a corpus (Denkowski and Lavie, WMT 2014)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

STATISTICS = 23
"""The number of statistics per caption; :func:`capreward.text.meteor.alignment.statistics` gives their order."""

Floats = npt.NDArray[np.float64]

_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.20, 0.60, 0.75
_BETA_EXCESS = 2.0**-56 * 0.8
_WEIGHTS = (1.0, 0.6, 0.8, 0.6)


def score_from_statistics(stats: npt.ArrayLike) -> Floats:
    """Score captions, or sums of :func:`summable` statistics.

    Args:
        stats: The counts, [..., 23].

    Returns:
        The scores in [0, 1], [...]; 0 where nothing matches or one side is empty.

    Raises:
        ValueError: If the length of the last axis is not 23.
    """
    values = np.asarray(stats, dtype=np.float64)
    if values.shape[-1:] != (STATISTICS,):
        raise ValueError(f"METEOR statistics have {STATISTICS} numbers per caption; these have shape {values.shape}")
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = _weighted_matches(values, 0) / _weighted_length(values[..., 0], values[..., 2])
        recall = _weighted_matches(values, 1) / _weighted_length(values[..., 1], values[..., 3])
        mean = 1.0 / ((1.0 - _ALPHA) / precision + _ALPHA / recall)
        chunks, ours, theirs = values[..., 20], values[..., 21], values[..., 22]
        fragmentation = np.where(_is_whole_match(values), 0.0, chunks / ((ours + theirs) / 2.0))
        score = mean * (1.0 - _GAMMA * _power_of_beta(fragmentation))
    return np.where(score > 0.0, score, 0.0)


def summable(stats: npt.ArrayLike) -> Floats:
    """Turn the statistics of captions into those that a corpus sums: a whole match in one chunk adds no chunk.

    Args:
        stats: The counts per caption, [..., 23].
    """
    values = np.array(stats, dtype=np.float64)
    values[..., 20][_is_whole_match(values)] = 0.0
    return values


def corpus_score(total: npt.ArrayLike) -> Floats:
    """Score a corpus, or many resamples of one at once.

    Args:
        total: The sums of the :func:`summable` statistics over captions, [..., 23].

    Returns:
        The scores in [0, 1], [...].
    """
    return score_from_statistics(total)


def _is_whole_match(values: Floats) -> npt.NDArray[np.bool_]:
    """Return whether all words of both sides are matched, in one chunk."""
    matched = (values[..., 21] == values[..., 0]) & (values[..., 22] == values[..., 1])
    return np.asarray(matched & (values[..., 20] == 1.0))


def _weighted_matches(values: Floats, side: int) -> Floats:
    # The sum runs in the original's order, content words first, so that the last bit agrees.
    total = np.zeros(values.shape[:-1])
    for module, weight in enumerate(_WEIGHTS):
        total = total + values[..., 4 + 4 * module + side] * weight * _DELTA
    for module, weight in enumerate(_WEIGHTS):
        total = total + values[..., 6 + 4 * module + side] * weight * (1.0 - _DELTA)
    return total


def _weighted_length(words: Floats, functions: Floats) -> Floats:
    return _DELTA * (words - functions) + (1.0 - _DELTA) * functions


def _power_of_beta(base: Floats) -> Floats:
    """Return ``base ** beta``, correctly rounded; the power functions of platforms and numpy differ in the last bit."""
    with np.errstate(divide="ignore", invalid="ignore"):
        guess = np.asarray(np.power(base, _BETA))
        square, square_low = _exact_product(guess, guess)
        fourth, fourth_low = _exact_product(square, square)
        fifth, fifth_low = _exact_product(fourth, guess)
        fifth_low = fifth_low + (fourth_low + 2.0 * square * square_low) * guess
        # The correction is one Newton step towards the fifth root, and a term for the double nearest 0.2, which is
        # larger than one fifth.
        correction = ((base - fifth) - fifth_low) / (5.0 * fourth) + guess * _BETA_EXCESS * np.log(base)
        return np.where(base > 0.0, guess + correction, base)


def _exact_product(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """Return Dekker's product: the rounded result and the rounding error, which add up to the exact product."""
    product = a * b
    (a_high, a_low), (b_high, b_low) = _split_double(a), _split_double(b)
    return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


def _split_double(value: Floats) -> tuple[Floats, Floats]:
    scaled = value * 134217729.0
    high = scaled - (scaled - value)
    return high, value - high
