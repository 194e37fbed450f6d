"""The area under the ROC curve, and its interval over items."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.stats.bootstrap import percentiles

Floats = npt.NDArray[np.float64]


def area(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """The chance that a positive has the higher score than a negative, ties counting half (Hanley and McNeil 1982).

    Args:
        positive: [P] scores.
        negative: [Q] scores.

    Returns:
        In [0, 1], 0.5 for scores that tell nothing.

    Raises:
        InputError: none on one side, or scores that are no numbers.
    """
    one, other = _checked(positive), _checked(negative)
    values, places = np.unique(np.concatenate([one, other]), return_inverse=True)
    even = np.ones(len(places))
    ups = _at(places[: len(one)], even[: len(one)], len(values))
    downs = _at(places[len(one) :], even[len(one) :], len(values))
    return float(_areas(ups, downs))


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
    """Percentile bootstrap interval of :func:`area`, whole items drawn with replacement.

    Args:
        positive: [P] scores.
        negative: [Q] scores.
        positive_items: int [P], the item each belongs to: captions of one image are no independent draws.
        negative_items: int [Q].
        resamples: how many draws.
        level: share of the values inside the interval.
        seed: of the generator.

    Returns:
        (low, high).

    Raises:
        InputError: as :func:`area`.
    """
    one, other = _checked(positive), _checked(negative)
    values, places = np.unique(np.concatenate([one, other]), return_inverse=True)
    items = np.concatenate([np.asarray(positive_items), np.asarray(negative_items)])
    known, owners = np.unique(items, return_inverse=True)
    generator = np.random.default_rng(seed)
    found: list[float] = []
    while len(found) < resamples:
        drawn = np.bincount(generator.integers(0, len(known), len(known)), minlength=len(known))
        weights = drawn[owners].astype(np.float64)
        ups = _at(places[: len(one)], weights[: len(one)], len(values))
        downs = _at(places[len(one) :], weights[len(one) :], len(values))
        if ups.any() and downs.any():  # few items may give draws without one side, which have no area
            found.append(float(_areas(ups, downs)))
    return percentiles(np.array(found), level)


def _checked(scores: npt.ArrayLike) -> Floats:
    found = np.asarray(scores, dtype=np.float64)
    if found.ndim != 1 or not len(found) or np.isnan(found).any():
        raise InputError(f"the area under a curve wants numbers on both sides; found {found.size} of {found.ndim} axes")
    return found


def _at(places: npt.NDArray[np.int64], weights: Floats, size: int) -> Floats:
    """The weight at each value."""
    return np.bincount(places, weights, minlength=size).astype(np.float64)


def _areas(ups: Floats, downs: Floats) -> np.float64:
    """Of the weight of positives and negatives at each value, values ascending."""
    below = np.cumsum(downs) - downs / 2
    area: np.float64 = (ups @ below) / (ups.sum() * downs.sum())
    return area
