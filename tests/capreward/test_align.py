"""Two systems in one order: values that know their images, and Scores.align."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from capreward import InputError, Samples, load, score
from capreward.paired_captions import Pairing
from capreward.per_caption import PerCaption
from capreward.stats.bootstrap import resampled_sums

KEYS = ["a", "b", "c", "d", "e", "f"]
REFERENCES = {
    "a": ["a dog runs on the grass", "a dog runs"],
    "b": ["two men ride horses", "men on horses"],
    "c": ["a red car on a road", "the red car"],
    "d": ["a cat sleeps on a bed", "a cat"],
    "e": ["a plate of food", "food on a table"],
    "f": ["a man with a hat", "a hat on a man"],
}
XE = {"a": "a dog", "b": "two horses", "c": "a car on a road", "d": "a dog", "e": "a table", "f": "a man"}
RL = {"f": "a man with a hat", "d": "a cat on a bed", "a": "a dog runs", "b": "men", "e": "a plate", "c": "the car"}
METRICS = "bleu,rouge,cider,length,rouge - repetition"


def systems(metrics=METRICS, first=XE, second=RL):
    return [score(captions, {k: REFERENCES[k] for k in captions}, metrics=metrics) for captions in (first, second)]


def test_values_in_another_order_are_not_subtracted():
    xe, rl = systems()
    with pytest.raises(InputError, match=r"row 0 is image f in one and a in the other; .*one\.align\(other\)"):
        rl["cider"].per_caption - xe["cider"].per_caption
    for function in (np.subtract, np.corrcoef, np.equal, lambda a, b: np.stack([a, b]), lambda a, b: a @ b):
        with pytest.raises(InputError, match="different captions"):
            function(rl["rouge"].per_caption, xe["rouge"].per_caption)
    with pytest.raises(InputError, match="different captions"):
        np.greater(rl["bleu1"].per_caption[:3], xe["bleu1"].per_caption[:3])
    values = rl["rouge"].per_caption
    with pytest.raises(InputError, match="different captions"):
        values -= xe["rouge"].per_caption
    with pytest.raises(InputError, match="they are of 6 and of 5 captions"):
        xe["rouge"].per_caption + xe["rouge"].per_caption[:5]


def test_values_of_the_same_captions_go_together():
    xe, _ = systems()
    together = xe["rouge"].per_caption - 0.5 * xe["cider"].per_caption
    plain = np.asarray(xe["rouge"].per_caption) - 0.5 * np.asarray(xe["cider"].per_caption)
    np.testing.assert_array_equal(together, plain)
    assert together.keys == tuple(XE)
    assert (together[::-1]).keys == tuple(XE)[::-1]
    assert together[[3, 1]].keys == ("d", "b")
    assert together[together > together.mean()].keys == tuple(
        k for k, v in zip(XE, plain, strict=True) if v > plain.mean()
    )


def test_what_does_not_go_caption_by_caption_is_plain():
    values = PerCaption([3.0, 1.0, np.nan], KEYS[:3])
    assert float(np.nanmean(values)) == 2.0
    assert type(np.asarray(values)) is np.ndarray
    assert type(np.nanmean(values)) is np.float64
    assert type(np.sort(values)) is np.ndarray
    assert np.add.reduce(values[:2]) == 4.0
    assert not isinstance(values.sum(), PerCaption)
    assert values.reshape(1, 3).keys is None
    assert values[:, None].keys is None
    assert values.take([1, 0, 2]).keys is None
    assert values[1] == 1.0
    assert np.concatenate([values, PerCaption([1.0], ["z"])]).shape == (4,)
    assert torch.from_numpy(values).tolist()[:2] == [3.0, 1.0]
    assert json.dumps(values[:2].tolist()) == "[3.0, 1.0]"
    values.sort()
    assert values.keys is None
    with pytest.raises(InputError, match="one key each"):
        PerCaption([1.0], KEYS)


@pytest.mark.parametrize(
    "again", [lambda v: pickle.loads(pickle.dumps(v)), copy.copy, copy.deepcopy, lambda v: v.copy()]
)
def test_copies_keep_their_images(again):
    values = PerCaption([3.0, 1.0], ["x", "y"])
    made = again(values)
    assert type(made) is PerCaption
    assert made.keys == ("x", "y")
    made[0] = 7.0
    assert values.tolist() == [3.0, 1.0]
    assert pickle.loads(pickle.dumps(values[:, None])).shape == (2, 1)


def test_align_gives_the_difference_by_image():
    xe, rl = systems()
    one, other = xe.align(rl)
    assert one.caption_keys == other.caption_keys == KEYS
    assert other.captions == [RL[key] for key in KEYS]
    for name in ("cider", "bleu4", "rouge - repetition", "repetition", "length"):
        before = dict(zip(rl.caption_keys, rl[name].per_caption.tolist(), strict=True))
        gap = other[name].per_caption - one[name].per_caption
        mine = dict(zip(xe.caption_keys, xe[name].per_caption.tolist(), strict=True))
        assert gap.tolist() == [before[key] - mine[key] for key in KEYS]
        assert other[name].value == pytest.approx(rl[name].value, rel=1e-12)
        assert other[name].items == one[name].items == tuple(KEYS)
    assert one.notes == xe.notes
    assert other["bleu"].parts["bleu1"].statistics is other["bleu"].parts["bleu4"].statistics
    assert other["bleu4"].interval(seed=1) is not None


def test_resampling_aligned_systems_draws_the_same_images():
    """The spread of a paired difference is that of the differences by image."""
    one, other = systems()[0].align(systems()[1])
    sums = [resampled_sums(s["rouge"].statistics, resamples=50, seed=3) for s in (one, other)]
    paired = sums[1][:, 0] / sums[1][:, 1] - sums[0][:, 0] / sums[0][:, 1]
    gaps = (other["rouge"].per_caption - one["rouge"].per_caption)[:, None]
    np.testing.assert_allclose(paired, resampled_sums(gaps, resamples=50, seed=3)[:, 0] / 6, atol=1e-15)


@pytest.mark.filterwarnings("ignore:cider of the two")
def test_align_restricts_to_shared_images_and_says_so():
    fewer = {key: RL[key] for key in ("e", "a", "c")}
    one, other = systems("bleu,rouge,cider,vocabulary", second=fewer)[0].align(
        systems("bleu,rouge,cider,vocabulary", second=fewer)[1]
    )
    assert one.caption_keys == ["a", "c", "e"]
    alone = score({k: XE[k] for k in "ace"}, {k: REFERENCES[k] for k in "ace"}, metrics="bleu,rouge,cider")
    assert one["bleu4"].value == pytest.approx(alone["bleu4"].value, rel=1e-12)
    assert one["rouge"].value == pytest.approx(alone["rouge"].value, rel=1e-12)
    assert "3 captions of images that the other system lacks left out" in one.notes
    assert any("cider keeps its document frequencies, references(6)" in note for note in one.notes)
    assert list(one) == ["bleu", "rouge", "cider"], "a vocabulary is no sum over images"
    assert list(other) == ["bleu", "rouge", "cider", "vocabulary"]
    assert [note.partition(" of the two")[0] for note in other.notes] == ["cider"], (
        "its frequencies are of other images"
    )


def test_ids_match_as_between_captions_and_references():
    first = score({"42": "a dog", "7": "a cat"}, {"42": ["a dog"], "7": ["a dog"]}, metrics="rouge")
    second = score(
        {"000007.jpg": "a cat", "COCO_val2014_000000000042.jpg": "dog"}, {7: ["a dog"], 42: ["a dog"]}, metrics="rouge"
    )
    one, other = first.align(second)
    assert other.caption_keys == ["42", "7"]
    assert other.captions == ["dog", "a cat"]
    assert (one["rouge"].per_caption - other["rouge"].per_caption)[1] == 0.0


def test_images_that_a_metric_does_not_apply_to_add_nothing():
    references = [["a dog"], []]
    first = score(Samples(["a dog", "a cat"], references=references, key=["x", "y"]), metrics="rouge")
    second = score(Samples(["a cat", "a dog"], references=references[::-1], key=["y", "x"]), metrics="rouge")
    one, other = first.align(second)
    assert other["rouge"].statistics.tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert other["rouge"].value == one["rouge"].value == 1.0
    assert np.isnan(other["rouge"].per_caption).tolist() == [False, True]


def test_several_captions_of_an_image_go_in_their_order():
    one = score({"x": ["a", "b"], "y": ["c"]}, metrics="length", multiple=True)
    two = score({"y": ["c d"], "x": ["a b c", "d"]}, metrics="length", multiple=True)
    assert one.align(two)[1].captions == ["a b c", "d", "c d"]
    with pytest.raises(InputError, match="image x has 2 and 1 captions"):
        one.align(score({"x": ["a"]}, metrics="length"))


def test_what_cannot_be_paired_is_refused():
    with pytest.raises(InputError, match="share no image: the first are a and b"):
        Pairing.of(["a"], ["b"])
    with pytest.raises(InputError, match="ids 7, 007 of one system mean one image of the other"):
        Pairing.of(["7", "007"], ["7"])


def test_scores_of_one_evaluator_know_their_images_where_these_have_names():
    first = load("length").corpus(Samples(["a", "b c"], key=["x", "y"]))
    second = load("length").corpus(Samples(["b c", "a"], key=["y", "x"]))
    with pytest.raises(InputError, match="different captions"):
        first.per_caption - second.per_caption
    bare = load("length").corpus(Samples(["a", "b c"]))
    assert (bare.per_caption - load("length").corpus(Samples(["b c", "a"])).per_caption).tolist() == [-1.0, 1.0]
    numbered = [score(captions, metrics="length")["length"].per_caption for captions in (["a", "b c"], ["b", "a"])]
    assert (numbered[0] - numbered[1]).tolist() == [0.0, 1.0]
    assert (first.per_caption - numbered[0]).tolist() == [0.0, 0.0], "a list is in the order in which it was given"
    taken = load("length").corpus(Samples(["a", "b c"]).take(np.array([1])))
    assert not isinstance(taken.per_caption, PerCaption)


def test_merged_halves_know_their_images():
    halves = [load("length").corpus(Samples(["a"], key=[key])) for key in "xy"]
    merged = halves[0].merge(halves[1])
    assert merged.per_caption.keys == merged.items == ("x", "y")


@given(st.permutations(KEYS), st.permutations(KEYS), st.integers(1, 6), st.integers(1, 6))
def test_any_order_and_any_overlap(first, second, n, m):
    values = {key: float(i) for i, key in enumerate(KEYS)}
    one, other = (
        score(Samples([" ".join(["a"] * int(values[k] + plus)) for k in keys], key=keys), metrics="length")
        for keys, plus in ((first[:n], 1), (second[:m], 3))
    )
    shared = [key for key in first[:n] if key in second[:m]]
    if not shared:
        with pytest.raises(InputError, match="share no image"):
            one.align(other)
        return
    one, other = one.align(other)
    assert one.caption_keys == other.caption_keys == shared
    assert set((other["length"].per_caption - one["length"].per_caption).tolist()) == {2.0}
    assert one["length"].value == pytest.approx(np.mean([values[key] + 1 for key in shared]))


def test_numbers_computed_otherwise_are_told(recwarn):
    references = {str(n): [f"a dog number {n}", "the dog"] for n in range(6)}
    few = {key: text for key, text in references.items() if key != "5"}
    said = {key: "a dog runs" for key in references}
    one = score(said, references, metrics="cider,rouge")
    other = score({key: said[key] for key in few}, few, metrics="cider,rouge")
    with pytest.warns(
        RuntimeWarning, match=r"cider of the two is not computed alike .*references\(6\).*references\(5\)"
    ):
        pair = one.align(other)
    assert all(any("cider of the two" in note for note in scores.notes) for scores in pair)
    assert not any("rouge of the two" in note for scores in pair for note in scores.notes)
    recwarn.clear()
    one.align(one)
    assert not recwarn.list
