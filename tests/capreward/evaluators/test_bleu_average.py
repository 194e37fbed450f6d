"""BLEU-avg is the mean of BLEU-1 to BLEU-4."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from strategies import corpora

from capreward import InputError, Samples, load, score

CAPTIONS = ["a dog runs in the park", "the cat sat on a mat", "two kids"]
REFERENCES = [["a dog runs in a park", "the dog runs in the park"], ["the cat sat on the mat"], ["two kids play ball"]]


@given(corpus=corpora())
def test_it_is_the_mean_of_the_four(corpus):
    captions, references = corpus
    samples = Samples(captions, references=references)
    parts = [load(f"bleu{n}", tokenizer="none").corpus(samples) for n in range(1, 5)]
    found = load("bleu-avg", tokenizer="none").corpus(samples)
    assert found.value == pytest.approx(sum(p.value for p in parts) / 4, rel=1e-14)
    np.testing.assert_allclose(found.per_caption, sum(p.per_caption for p in parts) / 4, rtol=1e-14)


def test_values_by_hand():
    """4 words of 5 match, 3 pairs of 4, 2 triples of 3, 1 of 2 fours; the lengths are equal."""
    samples = Samples(["a b c d x"], references=[["a b c d e"]])
    expected = (4 / 5 + (4 / 5 * 3 / 4) ** (1 / 2) + (4 / 5 * 3 / 4 * 2 / 3) ** (1 / 3) + (1 / 5) ** (1 / 4)) / 4
    assert load("BLEU-avg", tokenizer="none")(samples).item() == pytest.approx(expected, abs=1e-9)


def test_the_corpus_is_no_mean_and_halves_merge():
    evaluator = load("bleu-avg")
    whole = evaluator.corpus(Samples(CAPTIONS, references=REFERENCES))
    assert abs(whole.value - whole.per_caption.mean()) > 1e-3
    halves = [evaluator.corpus(Samples(CAPTIONS[s], references=REFERENCES[s])) for s in (slice(0, 1), slice(1, 3))]
    assert halves[0].merge(halves[1]).value == whole.value
    low, high = whole.interval(resamples=200)
    assert low < whole.value < high


def test_it_stands_beside_bleu():
    found = score(CAPTIONS, REFERENCES, metrics="bleu,bleu-avg")
    assert found["bleu-avg"].value == pytest.approx(np.mean([found[f"bleu{n}"].value for n in range(1, 5)]), rel=1e-14)
    assert str(found["bleu-avg"].signature).startswith("bleu-avg|reflen:closest|tok:ptb-joined|refs:1-2|")
    with pytest.raises(InputError, match="no option 'only'"):
        load("bleu-avg", only=2)
