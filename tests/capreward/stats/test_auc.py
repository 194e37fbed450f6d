"""The area under the ROC curve against its definition, and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capreward.errors import InputError
from capreward.stats.auc import area, area_interval

scores = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12)


def pairwise(positive, negative):
    return sum((p > n) + (p == n) / 2 for p in positive for n in negative) / (len(positive) * len(negative))


@given(scores, scores)
def test_area_is_the_chance_of_a_right_order(positive, negative):
    assert area(positive, negative) == pytest.approx(pairwise(positive, negative), abs=1e-12)
    assert area(negative, positive) == pytest.approx(1 - area(positive, negative), abs=1e-12)


def test_extremes():
    assert area([2, 3], [0, 1]) == 1.0
    assert area([0], [1, 2]) == 0.0
    assert area([1, 1], [1]) == 0.5


def test_interval_is_that_of_resampled_items():
    """The same draws, repeated by copying scores."""
    chance = np.random.default_rng(0)
    positive, negative = chance.normal(0.5, 1, 40), chance.normal(0, 1, 60)
    own, other = chance.integers(0, 15, 40), chance.integers(0, 15, 60)
    low, high = area_interval(positive, negative, own, other, resamples=200, level=0.9, seed=3)
    generator, found = np.random.default_rng(3), []
    known = np.unique(np.concatenate([own, other]))
    for _ in range(200):
        drawn = known[generator.integers(0, len(known), len(known))]
        ups = np.concatenate([positive[own == item] for item in drawn])
        downs = np.concatenate([negative[other == item] for item in drawn])
        found.append(pairwise(ups, downs))
    assert (low, high) == pytest.approx(tuple(np.quantile(found, [0.05, 0.95])), abs=1e-12)
    assert low < area(positive, negative) < high


def test_interval_covers_the_truth():
    """Two normals a standard deviation apart: the area is 0.7602, and 95% intervals hold it about as often."""
    hits = 0
    for seed in range(100):
        chance = np.random.default_rng(seed)
        positive, negative = chance.normal(1, 1, 100), chance.normal(0, 1, 100)
        low, high = area_interval(positive, negative, np.arange(100), np.arange(100), resamples=200, seed=seed)
        hits += low < 0.760250 < high
    assert 88 <= hits <= 100


def test_draws_without_one_side_are_drawn_again():
    assert area_interval([1.0], [0.0], [0], [1], resamples=50) == (1.0, 1.0)


@pytest.mark.parametrize("bad", [[], [float("nan")], [[1.0]]])
def test_bad_scores(bad):
    with pytest.raises(InputError, match="wants numbers on both sides"):
        area(bad, [1.0])
    with pytest.raises(InputError, match="wants numbers on both sides"):
        area_interval([1.0], bad, [0], [0])
