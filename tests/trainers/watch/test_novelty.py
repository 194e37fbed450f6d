"""New captions and phrases, against sets of strings; and memory that is bounded."""

from __future__ import annotations

import numpy as np
import pytest

from capreward.errors import InputError
from capreward.text.tokenizers import tokenizer_of
from trainers.data import open_dataset
from trainers.watch.novelty import HashSet, Novelty, training_novelty

TRAINING = ["A small dog runs over the grass.", "two cats", "the dog runs over a hill", "a b c d e"]
SAID = ["a small dog runs over two hills", "Two cats!", "the grass", "a b c d e", "e d c b a", ""]


def by_hand(training, said):
    """The same with Python's own sets of strings."""
    tokens = tokenizer_of("ptb")
    known = {text.strip() for text in tokens(training)}
    phrases = {tuple(w[i : i + 4]) for w in map(str.split, known) for i in range(len(w) - 3)}
    new, shares = [], []
    for text in tokens(said):
        words = text.split()
        own = [tuple(words[i : i + 4]) for i in range(len(words) - 3)]
        new.append(float(text.strip() not in known))
        shares.append(np.mean([phrase not in phrases for phrase in own]) if own else np.nan)
    return np.array(new), np.array(shares)


def test_new_captions_and_phrases_are_counted():
    found = Novelty.of(TRAINING).measure(SAID)
    assert found["novel"].tolist() == [1, 0, 1, 0, 1, 1]
    np.testing.assert_allclose(found["novel_phrases"], [0.5, np.nan, np.nan, 0, 1, np.nan])
    for values, expected in zip(found.values(), by_hand(TRAINING, SAID), strict=True):
        np.testing.assert_array_equal(values, expected)


@pytest.fixture(scope="module")
def scenes():
    dataset = open_dataset("scenes:train", count=300)
    held_out = open_dataset("scenes:val", count=60)
    return [[c for i in range(len(d)) for c in d.captions(i)] for d in (dataset, held_out)]


def test_scenes_are_counted_as_by_hand(scenes):
    training, said = scenes
    said = [*said, *training[::7]]
    found = Novelty.of(training).measure(said)
    for values, expected in zip(found.values(), by_hand(training, said), strict=True):
        np.testing.assert_array_equal(values, expected)
    assert 0 < np.nanmean(found["novel_phrases"]) < 1


def test_sets_larger_than_allowed_are_sampled_fairly(scenes):
    training, said = scenes
    whole, part = Novelty.of(training), Novelty.of(training, most=1500)
    assert len(whole.phrases.hashes) > 6000
    assert len(part.phrases.hashes) <= 1500
    assert part.phrases.level >= 3
    assert part.captions.level == 0
    exact, estimate = (np.nanmean(n.measure(said)["novel_phrases"]) for n in (whole, part))
    assert abs(exact - estimate) < 0.06  # some 1,500 phrases, of which one in eight is judged
    few = Novelty.of(training, most=100).measure(said)["novel"]
    assert np.isnan(few).mean() > 0.8
    assert np.nanmean(few) == np.nanmean(whole.measure(said)["novel"][~np.isnan(few)])


def test_a_set_does_not_depend_on_the_order_or_the_blocks():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 5000, dtype=np.uint64)
    sets = [HashSet.of([hashes], 700), HashSet.of(np.array_split(hashes[::-1], 13), 700)]
    assert sets[0].level == sets[1].level == 3
    np.testing.assert_array_equal(sets[0].hashes, sets[1].hashes)
    assert (sets[0].hashes < np.uint64(1 << 61)).all()
    lacks = sets[0].lacks(hashes)
    assert set(lacks[~np.isnan(lacks)].tolist()) == {0.0}
    assert np.isnan(lacks).sum() == (hashes >= np.uint64(1 << 61)).sum()
    assert HashSet.of([]).lacks(hashes[:2]).tolist() == [1, 1]


def test_counts_are_kept_in_the_folder_of_the_run(tmp_path):
    dataset = open_dataset("scenes:train", count=40)
    found = training_novelty(dataset, tmp_path, 10)
    kept = list(tmp_path.glob("training-phrases-*-4.npz"))
    assert len(kept) == 1
    before = kept[0].stat().st_mtime_ns
    again = training_novelty(dataset, tmp_path, 10)
    assert kept[0].stat().st_mtime_ns == before
    for one, other in ((found.captions, again.captions), (found.phrases, again.phrases)):
        np.testing.assert_array_equal(one.hashes, other.hashes)
    own = [c for i in range(0, 40, 4) for c in dataset.captions(i)]
    assert np.nanmax(again.measure(own)["novel_phrases"]) == 0
    assert np.nanmax(again.measure(list(dataset.captions(1)))["novel"]) == 1
    assert np.nanmax(training_novelty(dataset, None, None).measure(list(dataset.captions(1)))["novel"]) == 0
    kept[0].write_bytes(b"nothing")
    with pytest.raises(InputError, match="remove it to have the captions counted again"):
        training_novelty(dataset, tmp_path, 10)


def test_what_is_forgotten_on_the_way_is_forgotten_by_its_bits():
    rng = np.random.default_rng(1)
    hashes = rng.integers(0, 2**64, 90_000, dtype=np.uint64)
    found = HashSet.of(np.array_split(hashes, 3), 10_000)
    assert found.level == 4
    np.testing.assert_array_equal(found.hashes, np.sort(hashes[hashes < np.uint64(1 << 60)]))
