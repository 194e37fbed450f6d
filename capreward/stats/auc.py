"""The area under the ROC curve, and its bootstrap interval over items."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.stats.bootstrap import percentiles

Floats = npt.NDArray[np.float64]


def area(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """Return the area under the ROC curve (Hanley and McNeil 1982).

    It is the probability that a positive has a higher score than a negative; a tie counts half.

    Args:
        positive: The scores of the positives, [P].
        negative: The scores of the negatives, [Q].

    Returns:
        The area in [0, 1]; 0.5 means that the scores do not distinguish the two sides.

    Raises:
        InputError: If one side has no scores, or if a score is NaN.
    """
    one, other = _checked_scores(positive), _checked_scores(negative)
    values, places = np.unique(np.concatenate([one, other]), return_inverse=True)
    even = np.ones(len(places))
    ups = _weights_at_values(places[: len(one)], even[: len(one)], len(values))
    downs = _weights_at_values(places[len(one) :], even[len(one) :], len(values))
    return float(_weighted_area(ups, downs))


def area_interval(
    positive: npt.ArrayLike,
    negative: npt.ArrayLike,
    positive_items: npt.ArrayLike,
    negative_items: npt.ArrayLike,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 12345,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of :func:`area`, for which whole items are drawn with replacement.

    Items are drawn, since captions of one image are not independent.

    Args:
        positive: The scores of the positives, [P].
        negative: The scores of the negatives, [Q].
        positive_items: The item of each positive, int [P].
        negative_items: The item of each negative, int [Q].
        resamples: The number of draws.
        level: The share of the values that lie inside the interval.
        seed: The seed of the random generator.

    Returns:
        The interval as (low, high).

    Raises:
        InputError: If one side has no scores, or if a score is NaN.
    """
    one, other = _checked_scores(positive), _checked_scores(negative)
    values, places = np.unique(np.concatenate([one, other]), return_inverse=True)
    items = np.concatenate([np.asarray(positive_items), np.asarray(negative_items)])
    known, owners = np.unique(items, return_inverse=True)
    generator = np.random.default_rng(seed)
    found: list[float] = []
    while len(found) < resamples:
        drawn = np.bincount(generator.integers(0, len(known), len(known)), minlength=len(known))
        weights = drawn[owners].astype(np.float64)
        ups = _weights_at_values(places[: len(one)], weights[: len(one)], len(values))
        downs = _weights_at_values(places[len(one) :], weights[len(one) :], len(values))
        if ups.any() and downs.any():  # with few items, a draw may have one side only, and then has no area
            found.append(float(_weighted_area(ups, downs)))
    return percentiles(np.array(found), level)


def _checked_scores(scores: npt.ArrayLike) -> Floats:
    found = np.asarray(scores, dtype=np.float64)
    if found.ndim != 1 or not len(found) or np.isnan(found).any():
        raise InputError(f"the area under a curve wants numbers on both sides; found {found.size} of {found.ndim} axes")
    return found


def _weights_at_values(places: npt.NDArray[np.int64], weights: Floats, size: int) -> Floats:
    """Return the sum of the weights at each value."""
    return np.bincount(places, weights, minlength=size).astype(np.float64)


def _weighted_area(ups: Floats, downs: Floats) -> np.float64:
    """Return the area from the weights of positives and negatives at each value, in ascending order of values."""
    below = np.cumsum(downs) - downs / 2
    area: np.float64 = (ups @ below) / (ups.sum() * downs.sum())
    return area
