"""Signatures, intervals, merging and what the corpus rules are."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import ROOT
from strategies import corpora

from capreward import InputError, Samples, Signature, load, score
from capreward.stats.bootstrap import BLOCK, intervals, resampled_sums


@given(st.dictionaries(st.from_regex("[a-z]{1,5}", fullmatch=True), st.text(max_size=8), max_size=4))
def test_signatures_can_be_read_back(fields):
    signature = Signature.of("cider-d", **{k: v for k, v in fields.items() if k not in ("name", "cls")})
    assert Signature.parse(str(signature)) == signature


def test_signatures_say_what_changes_the_number():
    samples = Samples(["a dog", "a man"], references=[["a dog", "the dog"], ["a man"]])
    assert str(load("cider").corpus(samples).signature) == "cider|tok:ptb|refs:1-2|df:references(2)|v:0.1.0"
    assert str(load("bleu2", tokenizer="none").signature()) == "bleu2|reflen:closest|tok:none|v:0.1.0"
    with pytest.raises(InputError, match="no signature"):
        Signature.parse("cider|what")


def test_resampling_is_the_same_however_it_is_cut(monkeypatch):
    statistics = np.random.default_rng(0).normal(size=(50, 3))
    whole = resampled_sums(statistics, resamples=40, seed=7)
    monkeypatch.setattr("capreward.stats.bootstrap.BLOCK", 120)
    np.testing.assert_allclose(resampled_sums(statistics, resamples=40, seed=7), whole, rtol=1e-12)
    assert BLOCK > 120


def test_resampled_sums_are_sums_of_rows_drawn():
    generator = np.random.default_rng(3)
    drawn = generator.integers(0, 4, size=(5, 4))
    statistics = np.array([[1.0, 10], [2, 20], [4, 40], [8, 80]])
    np.testing.assert_allclose(resampled_sums(statistics, resamples=5, seed=3), statistics[drawn].sum(1))


def test_the_interval_is_the_spread_of_corpus_scores_of_resampled_images():
    """The slow way, scoring each resampled corpus anew, gives the same interval."""
    words = np.array(["a", "dog", "man", "on", "the", "mat"])
    generator = np.random.default_rng(1)
    make = lambda: " ".join(generator.choice(words, 5))  # noqa: E731
    captions, references = [make() for _ in range(12)], [[make(), make()] for _ in range(12)]
    evaluator = load("bleu2", tokenizer="none")
    fast = evaluator.corpus(Samples(captions, references=references)).interval(resamples=60, seed=5)
    draws = np.random.default_rng(5).integers(0, 12, size=(60, 12))
    slow = [
        evaluator.corpus(Samples([captions[i] for i in d], references=[references[i] for i in d])).value for d in draws
    ]
    assert fast == pytest.approx((np.quantile(slow, 0.025), np.quantile(slow, 0.975)), rel=1e-12)


def test_intervals_together_equal_intervals_alone():
    samples = Samples(["a dog", "a man on", "x"], references=[["a dog"], ["a man"], ["y x"]])
    scores = score(samples, metrics="bleu,rouge,cider,length,vocabulary")
    together = intervals(scores.columns(), resamples=50, seed=2)
    for column in scores.columns():
        assert together[column.name] == column.interval(resamples=50, seed=2)
    assert together["vocabulary"] is None
    low, high = together["rouge"]
    assert low <= scores["rouge"].value <= high
    assert low < high


@given(corpora(min_items=2), st.integers(1, 5))
def test_merging_halves_equals_the_whole(corpus, cut):
    captions, references = corpus
    cut = min(cut, len(captions) - 1)
    for name in ("bleu", "rouge", "length"):
        evaluator = load(name, tokenizer="none")
        references = [r[:1] for r in references]
        whole = evaluator.corpus(Samples(captions, references=references))
        halves = [
            evaluator.corpus(Samples(captions[part], references=references[part]))
            for part in (slice(None, cut), slice(cut, None))
        ]
        merged = halves[0].merge(halves[1])
        assert merged.value == pytest.approx(whole.value, rel=1e-12)
        np.testing.assert_allclose(merged.per_caption, whole.per_caption, rtol=1e-12, atol=1e-15)
        for part in whole.parts:
            assert merged.parts[part].value == pytest.approx(whole.parts[part].value, rel=1e-12)


def test_different_signatures_do_not_merge():
    samples = Samples(["a"], references=[["a"]])
    with pytest.raises(InputError, match="signatures differ"):
        load("rouge").corpus(samples).merge(load("rouge", beta=1).corpus(samples))
    with pytest.raises(InputError, match="no summable statistics"):
        load("vocabulary").corpus(samples).merge(load("vocabulary").corpus(samples))


def test_halves_with_document_frequencies_of_their_own_do_not_merge():
    halves = [Samples(["a dog"], references=[["a dog"]]), Samples(["a man"], references=[["a man", "two men"]])]
    free, fixed = load("cider"), load("cider", df=str(ROOT / "examples/references.json"))
    with pytest.raises(InputError, match="signatures differ|of its own"):
        free.corpus(halves[0]).merge(free.corpus(halves[1]))
    with pytest.raises(InputError, match="document frequencies of its own"):
        free.corpus(halves[0]).merge(free.corpus(halves[0]))
    merged = fixed.corpus(halves[0]).merge(fixed.corpus(halves[1]))
    assert "refs:1-2" in str(merged.signature)
    assert merged.value == pytest.approx(np.concatenate([fixed(h).numpy() for h in halves]).mean())


def test_images_without_references_are_nan_and_left_out():
    samples = Samples(["a dog", "a cat", "a man"], references=[["a dog"], [], ["the man runs"]])
    for name in ("bleu4", "rouge", "cider", "rouge - length"):
        score_ = load(name, tokenizer="none").corpus(samples)
        assert np.isnan(score_.per_caption).tolist() == [False, True, False]
    assert "df:references(2)" in str(load("cider").corpus(samples).signature)
    rouge = load("rouge")
    assert rouge.corpus(samples).value == pytest.approx(np.nanmean(rouge(samples).numpy()))


def test_nothing_to_judge_is_refused():
    with pytest.raises(InputError, match="no captions"):
        score([], metrics="length")
    with pytest.raises(InputError, match="needs references; give --references"):
        score(["a"], metrics="bleu")
    with pytest.raises(InputError, match="no image has any"):
        score(["a"], [[]], metrics="bleu")
    assert load("length")(Samples([])).shape == (0,)
    assert load("bleu")(Samples([], references=[["a"]], item=[])).shape == (0,)


def test_scores_show_families_and_plain_values():
    scores = score(["a dog", ""], [["a dog"], ["a cat"]], metrics="bleu,rouge,rouge + length")
    names = ["bleu1", "bleu2", "bleu3", "bleu4", "rouge", "rouge + length", "length"]
    assert [s.name for s in scores.columns()] == names
    assert scores["bleu2"].value == scores["bleu"].parts["bleu2"].value
    assert list(scores) == ["bleu", "rouge", "rouge + length"]
    rows = scores.per_caption()
    assert [r["caption"] for r in rows] == ["a dog", ""]
    assert rows[0]["rouge"] == 1.0
    assert json.loads(json.dumps(scores.to_dict()))["rouge"]["value"] == 0.5
    assert float(scores["rouge"]) == 0.5
    with pytest.raises(KeyError):
        scores["nothing"]


def test_nan_is_null_in_plain_values():
    scores = score(Samples(["a", "b"], references=[["a"], []]), metrics="rouge")
    assert [r["rouge"] for r in scores.per_caption()] == [1.0, None]
    assert not math.isnan(scores["rouge"].value)


def test_score_takes_mappings_and_refuses_mixtures():
    assert score({"7": "a dog"}, {7: ["a dog"]}, metrics="rouge")["rouge"].value == 1.0
    with pytest.raises(InputError, match="captions must be too"):
        score(["a dog"], {7: ["a dog"]}, metrics="rouge")
    with pytest.raises(InputError, match="references must be too"):
        score({7: "a dog"}, [["a dog"]], metrics="rouge")
    with pytest.raises(InputError, match=r"references\['7'\] holds 3"):
        score({"7": "a"}, {"7": [3]}, metrics="rouge")
    both = score({"7": ["a dog", "a cat"]}, {"7": "a dog"}, metrics="rouge", multiple=True)
    assert both["rouge"].per_caption.tolist() == [1.0, 0.5]
