"""METEOR's score as a function of its statistics."""

from __future__ import annotations

from decimal import Context, Decimal

import numpy as np
import pytest

from capreward.text.meteor.score_formula import _power_of_beta, corpus_score, score_from_statistics, summable

PERFECT = [2, 2, 1, 1, 1, 1, 1, 1, *[0] * 12, 1, 2, 2]
TWO_CHUNKS = [2, 2, 1, 1, 1, 1, 1, 1, *[0] * 12, 2, 2, 2]
NOTHING = [2, 3, 1, 0, *[0] * 19]


def test_score_by_hand():
    # Precision and recall are 1 and every word is a chunk of its own: 1 - 0.6 * 1 ** 0.2.
    assert score_from_statistics(TWO_CHUNKS) == 0.4
    assert score_from_statistics(PERFECT) == 1.0
    assert score_from_statistics(NOTHING) == 0.0
    assert score_from_statistics(np.zeros(23)) == 0.0
    # One stem match of a content word, three content words against two: P = .6 / 3, R = .6 / 2, frag = 1.
    stem = [3, 2, 0, 0, 0, 0, 0, 0, 1, 1, *[0] * 10, 1, 1, 1]
    assert score_from_statistics(stem) == pytest.approx(0.4 / (0.15 / 0.2 + 0.85 / 0.3), abs=1e-15)


@pytest.mark.parametrize("module, weight", [(0, 1.0), (1, 0.6), (2, 0.8), (3, 0.6)])
@pytest.mark.parametrize("function, share", [(False, 0.75), (True, 0.25)])
def test_module_weights(module, weight, function, share):
    stats = np.zeros(23)
    stats[:4] = 4, 4, 2, 2
    stats[4 + 4 * module + 2 * function :][:2] = 1
    stats[20:] = 1, 1, 1
    assert score_from_statistics(stats) == pytest.approx(0.4 * weight * share / 2.0, abs=1e-15)


def test_summable_drops_the_chunk_of_perfect_captions_only():
    stats = np.array([PERFECT, TWO_CHUNKS, NOTHING], dtype=float)
    assert summable(stats)[:, 20].tolist() == [0.0, 2.0, 0.0]
    np.testing.assert_array_equal(np.delete(summable(stats), 20, axis=1), np.delete(stats, 20, axis=1))
    assert stats[0, 20] == 1.0


def test_corpus_of_perfect_captions_is_perfect():
    assert corpus_score(summable([PERFECT, PERFECT]).sum(0)) == 1.0
    assert corpus_score(np.sum([PERFECT, PERFECT], axis=0)) < 1.0


def test_scores_keep_leading_axes():
    stats = np.array([[PERFECT, TWO_CHUNKS], [NOTHING, PERFECT]], dtype=float)
    assert score_from_statistics(stats).tolist() == [[1.0, 0.4], [0.0, 1.0]]
    assert corpus_score(np.repeat(stats[:1], 500, axis=0)).shape == (500, 2)


def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match="23"):
        score_from_statistics(np.zeros((2, 22)))


def test_power_is_correctly_rounded():
    base = np.array([chunks / (words / 2.0) for words in range(2, 80) for chunks in range(1, words // 2 + 1)])
    exact, beta = Context(prec=40), 0.2
    want = [float(exact.power(Decimal(value), Decimal(beta))) for value in base.tolist()]
    assert _power_of_beta(base).tolist() == want
    assert _power_of_beta(np.array(0.0)) == 0.0
