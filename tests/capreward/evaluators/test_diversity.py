"""Repetition, length and the diversity of captions, against their definitions."""

from __future__ import annotations

import math

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import filled, texts

from capreward import InputError, Samples, load


def test_repetition_by_hand():
    samples = Samples(["a dog and a dog", "a dog", "", "a a a a a"])
    each = [load(f"repetition(n={n})", tokenizer="none")(samples).tolist() for n in range(1, 5)]
    assert each[0] == pytest.approx([2 / 5, 0, 0, 4 / 5])
    assert each[1] == pytest.approx([1 / 4, 0, 0, 3 / 4])
    assert each[2] == pytest.approx([0, 0, 0, 2 / 3])
    assert each[3] == pytest.approx([0, 0, 0, 1 / 2])
    assert load("repetition", tokenizer="none")(samples).tolist() == pytest.approx(np.mean(each, axis=0).tolist())
    assert not load("repetition").higher_is_better


def test_length_counts_words_without_punctuation():
    assert load("length")(Samples(["A dog, running!", ""])).tolist() == [3.0, 0.0]


@given(st.lists(texts, min_size=1, max_size=6))
def test_vocabulary_and_distinct_equal_their_definitions(captions):
    samples = Samples(captions)
    words = [w for c in captions for w in c.split()]
    assert load("vocabulary", tokenizer="none").corpus(samples).value == len(set(words))
    distinct = load("distinct", tokenizer="none").corpus(samples)
    if words:
        pairs = {g for c in captions for g in oracle.grams(c, 2)}
        assert distinct.parts["distinct1"].value == pytest.approx(len(set(words)) / len(words))
        assert distinct.parts["distinct2"].value == pytest.approx(len(pairs) / len(words))
    else:
        assert math.isnan(distinct.value)


groups = st.lists(st.lists(filled, min_size=2, max_size=4), min_size=1, max_size=3)


def spread(captions):
    """Captions of several images, in turn, and the item of each."""
    rows = [(c, i) for i, group in enumerate(captions) for c in group]
    rows.sort(key=lambda row: hash(row[0]) % 7)
    return [c for c, _ in rows], [i for _, i in rows]


@given(groups)
def test_mutual_bleu_is_bleu_against_the_siblings(captions):
    flat, item = spread(captions)
    keys = [str(i) for i in range(len(captions))]
    siblings = [[flat[j] for j in range(len(flat)) if item[j] == item[i] and j != i] for i in range(len(flat))]
    whole, each = oracle.bleu(flat, siblings)
    score = load("mbleu", tokenizer="none").corpus(Samples(flat, item=item, key=keys))
    for n in range(4):
        part = score.parts[f"mbleu{n + 1}"]
        np.testing.assert_allclose(part.per_caption, each[n], rtol=1e-12, atol=1e-15)
        assert part.value == pytest.approx(whole[n], rel=1e-12, abs=1e-15)


@given(groups)
def test_self_cider_equals_its_definition(captions):
    flat, item = spread(captions)
    references = [["a man on a horse"], ["the red dog"], ["two men of the dog"]][: len(captions)]
    df, n_images = oracle.document_frequency(references), len(references)
    expected = []
    for i in item:
        mine = [c for c, j in zip(flat, item, strict=True) if i == j]
        matrix = [[oracle.cider_plain(a, [b], df, n_images) / 10 for b in mine] for a in mine]
        roots = np.sqrt(np.clip(np.linalg.eigvalsh(matrix), 0, None))
        expected.append(-math.log(roots[-1] / roots.sum()) / math.log(len(mine)) if roots.sum() > 0 else 0.0)
    samples = Samples(flat, item=item, references=references)
    score = load("self-cider", tokenizer="none").corpus(samples)
    np.testing.assert_allclose(score.per_caption, expected, rtol=1e-6, atol=1e-7)
    assert score.value == pytest.approx(np.mean([expected[item.index(i)] for i in sorted(set(item))]), abs=1e-6)


def test_equal_captions_have_no_diversity():
    samples = Samples(
        ["a red dog", "a red dog", "a dog", "two men"], item=[0, 0, 1, 1], references=[["x y"], ["a red z"]]
    )
    value = load("self-cider", tokenizer="none")(samples).tolist()
    assert value[:2] == pytest.approx([0, 0], abs=1e-6)
    assert value[2:] == pytest.approx([1, 1], abs=1e-6)


def test_images_with_one_caption_do_not_count():
    samples = Samples(["a b", "a c", "alone"], item=[0, 0, 1], references=[["a q"], ["z"]])
    for name in ("mbleu", "self-cider"):
        score = load(name, tokenizer="none").corpus(samples)
        assert np.isnan(score.per_caption).tolist() == [False, False, True]
    with pytest.raises(InputError, match="images with several captions; none of the 1 captions is such"):
        load("mbleu").corpus(Samples(["a"]))


@pytest.mark.parametrize("name", ["vocabulary", "distinct"])
def test_corpus_only_evaluators_are_no_reward(name):
    with pytest.raises(InputError, match="it is no reward"):
        load(name)(Samples(["a"]))
