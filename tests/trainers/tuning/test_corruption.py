"""Corrupted captions: every rule, by enumeration and by statistics."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import Counter

import pytest

from capreward.errors import InputError
from trainers.captioners.word_vocabulary import split_words
from trainers.tuning.corrupted_captions import KINDS, Corruptor


def far(counts, shares):
    """How far counts lie from expected shares, in standard deviations of chi-square; of sampling error: 4 and less."""
    total = sum(counts.values())
    assert set(counts) <= set(shares)
    assert sum(shares.values()) == pytest.approx(1.0)
    square = sum((counts[k] - total * share) ** 2 / (total * share) for k, share in shares.items())
    free = len(shares) - 1
    return (square - free) / (2 * free) ** 0.5 if free else square


def uniform(values):
    values = list(values)
    return {value: 1 / len(values) for value in values}


def draws(corruptor, caption, count, seed=0):
    chance = random.Random(seed)
    return [corruptor.corrupt(caption, chance) for _ in range(count)]


# The exact distribution over results, written a second time and plainly.


def spread(shares, options):
    """Each result's share divided over its equally likely successors."""
    found = Counter()
    for words, share in shares.items():
        nexts = list(options(words))
        for other in nexts:
            found[other] += share / len(nexts)
    return found


def mixture(parts):
    found = Counter()
    for shares in parts:
        for words, share in shares.items():
            found[words] += share / len(parts)
    return found


def chain(words, options):
    """1, 2 or 3 steps, equally likely."""
    steps, now = [], {words: 1.0}
    for _ in range(3):
        now = spread(now, options)
        steps.append(now)
    return mixture(steps)


def expected(kind, words, vocabulary):
    size = len(words)
    if kind == "remove":
        return mixture(
            [
                mixture([{words[:at] + words[at + n :]: 1.0} for at in range(size - n + 1)])
                for n in range(1, min(3, size - 1) + 1)
            ]
        )
    if kind == "repeat":
        return mixture(
            [
                mixture(
                    [
                        chain(words, lambda w, p=words[at : at + n]: [w[:s] + p + w[s:] for s in range(len(w) + 1)])
                        for at in range(size - n + 1)
                    ]
                )
                for n in range(1, min(3, size) + 1)
            ]
        )
    if kind == "insert":
        return chain(words, lambda w: [(*w[:s], v, *w[s:]) for s in range(len(w)) for v in vocabulary])
    if kind == "swap":  # the place first, then one of the words other than its own
        return chain(
            words, lambda w: [(*w[:s], v, *w[s + 1 :]) for s in range(len(w)) for v in others(vocabulary, w[s])]
        )
    return uniform_orders(words)


def others(vocabulary, word):
    """As often for each place, however many there are."""
    found = [v for v in vocabulary if v != word]
    return found * (2 // len(found))


def uniform_orders(words):
    return {k: n / len(list(itertools.permutations(words))) for k, n in Counter(itertools.permutations(words)).items()}


def without(shares, words):
    kept = {k: v for k, v in shares.items() if k != words}
    return {k: v / sum(kept.values()) for k, v in kept.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("caption", ["a b", "a b c", "b a b a"])
def test_results_follow_the_rules_exactly(kind, caption):
    vocabulary, words = ("a", "b"), tuple(caption.split())
    wanted = without(expected(kind, words, vocabulary), words)
    found = Counter(tuple(text.split()) for _, text in draws(Corruptor(vocabulary, [kind]), caption, 20_000))
    assert far(found, wanted) < 4


@pytest.mark.parametrize("kind", KINDS)
def test_unmended_may_give_the_caption_again(kind):
    words = ("b", "a", "b", "a")
    wanted = expected(kind, words, ("a", "b"))
    found = Counter(tuple(t.split()) for _, t in draws(Corruptor("ab", [kind], mended=False), "b a b a", 20_000))
    assert far(found, wanted) < 4
    assert (words in found) == (kind in ("swap", "shuffle"))


def test_one_word():
    corruptor = Corruptor(["x", "y"])
    found = draws(corruptor, "a", 3000)
    assert far(Counter(kind for kind, _ in found), uniform(["repeat", "insert", "swap"])) < 4
    assert {t for k, t in found if k == "repeat"} == {"a a", "a a a", "a a a a"}
    assert {t for k, t in found if k == "swap"} == {"x", "y"}
    assert all(text.endswith(" a") for kind, text in found if kind == "insert")


def test_two_equal_words_are_never_shuffled():
    found = draws(Corruptor(["x", "y"]), "a A", 4000)
    assert far(Counter(kind for kind, _ in found), uniform(["repeat", "remove", "insert", "swap"])) < 4
    assert {text for kind, text in found if kind == "remove"} == {"a", "A"}


def test_letter_case_is_no_difference():
    assert {t for _, t in draws(Corruptor(["dog", "cat"], ["swap"]), "Dog", 50)} == {"cat"}
    swapped = Counter(t for _, t in draws(Corruptor(["dog", "cat"], ["swap"], mended=False), "Dog", 3000))
    assert far(swapped, {"cat": 2 / 3, "dog": 1 / 3}) < 4  # after two swaps
    assert {t for _, t in draws(Corruptor([], ["shuffle"]), "A dog a", 200)} == {
        "a A dog",
        "A a dog",
        "dog A a",
        "dog a A",
    }


def test_blanks_separate_words():
    assert {t for _, t in draws(Corruptor([], ["remove"]), "  red\t dog. ", 50)} == {"red", "dog."}


@pytest.mark.parametrize(
    ("kinds", "caption", "says"),
    [
        (KINDS, " ", "the caption ' ' cannot be corrupted by repeat, remove, insert, swap, shuffle: it has 0 words"),
        (["remove", "shuffle"], "dog", "it has 1 words, 1 of them different; leave it out"),
        (["shuffle"], "dog Dog dog", "it has 3 words, 1 of them different"),
    ],
)
def test_what_cannot_be_corrupted(kinds, caption, says):
    with pytest.raises(InputError, match=re.escape(says)):
        Corruptor(["x", "y"], kinds).corrupt(caption, random.Random(0))


def test_unmended_short_captions_fail_as_the_original_does():
    corruptor = Corruptor(["x", "y"], ["remove"], mended=False)
    chance, outcomes = random.Random(0), Counter()
    for _ in range(9000):
        try:
            outcomes[corruptor.corrupt("a b", chance)[1]] += 1
        except InputError as error:
            assert "is shorter than the 3 words to remove" in str(error)  # noqa: PT017
            outcomes["too short"] += 1
    assert far(outcomes, {"": 1 / 3, "a": 1 / 6, "b": 1 / 6, "too short": 1 / 3}) < 4
    for kind in ("insert", "swap"):
        with pytest.raises(InputError, match=f"without words cannot be corrupted by {kind}"):
            Corruptor(["x", "y"], [kind], mended=False).corrupt("", random.Random(0))


@pytest.mark.parametrize(
    ("words", "kinds", "says"),
    [
        (["x"], ["rot"], "must be some of repeat, remove, insert, swap, shuffle, each once; found rot"),
        (["x"], [], "found none"),
        (["x"], ["remove", "remove"], "each once; found remove, remove"),
        ([], ["insert"], "insert needs a vocabulary of 1 words or more, found 0"),
        (["x", "X"], ["swap"], "swap needs a vocabulary of 2 words or more, found 1"),
    ],
)
def test_bad_settings(words, kinds, says):
    with pytest.raises(InputError, match=re.escape(says)):
        Corruptor(words, kinds)


def test_vocabulary_of_captions():
    captions = ["A dog, a Dog!", "dog dog dog", "the dog's cat", "cat cat cat cat", "bird bird bird bird bird"]
    assert Corruptor.of_captions(captions, least=5).words == ["dog", "cat", "bird"]
    assert Corruptor.of_captions(captions, least=1).words == ["a", "dog", "the", "dogs", "cat", "bird"]
    assert Corruptor.of_captions(captions, least=6, kinds=["shuffle"], mended=False).words == []
    with pytest.raises(InputError, match="insert needs a vocabulary of 1"):
        Corruptor.of_captions(captions)


def scenes_captions(count):
    from capreward.data.scenes import scene

    return [caption for index in range(count // 5) for caption in scene("train", index).captions]


def coco_captions(folder):
    found = json.loads((folder / "coco_val2017_captions" / "captions_val2017.json").read_text())
    lines = [" ".join(split_words(row["caption"])) for row in found["annotations"]]
    return [line for line in lines if line]


def corrupted(captions, seed):
    chance, corruptor = random.Random(seed), Corruptor.of_captions(captions)
    return corruptor, [(caption, *corruptor.corrupt(caption, chance)) for caption in captions]


def check_kinds(rows, vocabulary):
    """Every invariant of every kind; and how lengths change, against the rules."""
    grown = {kind: Counter() for kind in KINDS}
    for source, kind, text in rows:
        old, new = source.split(), text.split()
        assert old != new
        assert text == " ".join(new)
        grown[kind][len(new) - len(old)] += 1
        extra, gone = Counter(new) - Counter(old), Counter(old) - Counter(new)
        if kind == "shuffle":
            assert not extra
            assert not gone
        elif kind == "swap":
            assert set(extra) <= vocabulary
            assert 1 <= sum(a != b for a, b in zip(old, new, strict=True)) <= 3
        elif kind == "insert":
            assert not gone
            assert set(extra) <= vocabulary
            assert new[-1] == old[-1]
        elif kind == "repeat":
            assert not gone
            assert set(extra) <= set(old)
        else:
            assert not extra
            size = len(old) - len(new)
            assert any(old[:at] + old[at + size :] == new for at in range(len(new) + 1))
    assert far(Counter(kind for _, kind, _ in rows), uniform(KINDS)) < 4
    assert far(grown["repeat"], {1: 1 / 9, 2: 2 / 9, 3: 2 / 9, 4: 1 / 9, 6: 2 / 9, 9: 1 / 9}) < 4
    assert far(grown["remove"], uniform([-1, -2, -3])) < 4
    assert far(grown["insert"], uniform([1, 2, 3])) < 4
    assert set(grown["swap"]) == set(grown["shuffle"]) == {0}


def test_statistics_of_coco_captions(shared_data):
    captions = coco_captions(shared_data) * 4
    assert len(captions) > 100_000
    corruptor, rows = corrupted(captions, seed=5)
    assert len(corruptor.words) > 2000
    check_kinds(rows, set(corruptor.words))


def test_statistics_of_scenes_captions():
    captions = [caption for caption in scenes_captions(5000) if len(caption.split()) > 3]
    corruptor, rows = corrupted(captions * 4, seed=6)
    check_kinds(rows, set(corruptor.words))


def test_positions_are_uniform():
    """In a caption of ten different words and a vocabulary of others, every draw can be read off the result."""
    words = [f"w{i}" for i in range(10)]
    vocabulary = [f"v{i}" for i in range(20)]
    places, starts, drawn, slots = Counter(), Counter(), Counter(), Counter()
    for kind, text in draws(Corruptor(vocabulary), " ".join(words), 60_000, seed=7):
        new = text.split()
        if kind == "swap":
            places.update(i for i, w in enumerate(new) if w != words[i] and sum(map(str.__ne__, new, words)) == 1)
            drawn.update(w for w in new if w in vocabulary)
        elif kind == "insert" and len(new) == 11:
            slots.update(i for i, w in enumerate(new) if w in vocabulary)
        elif kind == "remove" and len(new) == 7:
            starts.update([next(i for i in range(10) if i == 7 or new[i] != words[i])])
    assert far(places, uniform(range(10))) < 4
    assert far(drawn, uniform(vocabulary)) < 4
    assert far(slots, uniform(range(10))) < 4
    assert far(starts, uniform(range(8))) < 4


def test_the_same_seed_gives_the_same():
    captions = scenes_captions(500)
    corruptor = Corruptor.of_captions(captions)
    first, again, other = (
        [corruptor.corrupt(caption, chance) for caption in captions]
        for chance in (random.Random(1), random.Random(1), random.Random(2))
    )
    assert first == again
    assert first != other
    assert corruptor.corrupt("a red ball lies on the grass", random.Random(3)) == corruptor.corrupt(
        "a red ball lies on the grass", random.Random(3)
    )
