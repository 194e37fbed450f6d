"""The recogniser of the scenes language: what it takes, and that it refuses every mistake of its kind."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capreward.data.scenes import is_grammatical, scene
from capreward.data.scenes.rules import rules, vocabulary
from capreward.data.scenes.vocabulary import NOUNS

RIGHT = [
    "a red ball",
    "There is an orange fish.",
    "there are two fish with stripes next to an umbrella at night and the umbrella has a ball to its left",
    "Two fish have a ball to their left",
    "the leaves are on the grass",
    "In the fog, a butterfly is placed on a lake.",
    "a picture of five cars, a small dotted leaf and an automobile in the snow",
    "A ball and two stars above a box",
    "the ball and the star are lower than an enormous tent at dusk in a meadow",
    "On the beach there is a boat at sunset while a kite is over the boat and a moth is near the kite",
    "a ball with a box to the right of it",
    "a couple of moons stand close to a group of three violet cottages",
]
WRONG = [
    "",
    ".",
    "a",
    "a red",
    "ball",
    "red ball on the beach",
    "a orange fish",
    "an red ball",
    "a ball are on the beach",
    "two balls is on the beach",
    "the leaves has a ball above them",
    "the leaf has a ball above them",
    "two fish have a ball to its left",
    "there is two balls",
    "there are a ball",
    "two ball",
    "a balls",
    "a leafs",
    "two leaf",
    "a red small ball",
    "a red striped ball",
    "a ball red",
    "a small little ball",
    "a red red ball",
    "a a ball",
    "a the ball",
    "a ball ball",
    "a ball on the beach on the beach",
    "a ball on the beach in the snow",
    "a ball is at night",
    "a ball to the left",
    "a ball to left of a box",
    "a ball is to the left of",
    "a ball in front a box",
    "a ball next a box",
    "a ball and",
    "a ball a box",
    "a ball is",
    "is a ball on the beach",
    "a ball stand on the beach",
    "two balls standing is on the beach",
    "this are two balls",
    "we sees a ball",
    "the picture show a ball",
    "you can a ball",
    "a ball with a stripes",
    "a ball with striped",
    "a striped ball with dots",
    "a dog on the beach",
    "a ball. a box.",
    "a ball on the beach..",
]


@pytest.mark.parametrize("caption", RIGHT)
def test_right(caption):
    assert is_grammatical(caption)
    assert is_grammatical(caption.upper())
    assert is_grammatical(f"  {caption.removesuffix('.')}. ")


@pytest.mark.parametrize("caption", WRONG)
def test_wrong(caption):
    assert not is_grammatical(caption)


@pytest.fixture(scope="module")
def sentences():
    """The words of 5,000 captions."""
    found = [c for i in range(1000) for c in scene("val", i).captions]
    return [c.lower().replace(",", "").removesuffix(".").split() for c in found]


def corrupted(sentences, change, seed=0):
    """The changed sentences, with the words at which they were changed."""
    lot = random.Random(seed)
    return [(words, changed) for words in sentences for changed in change(words, lot) if changed != words]


def accepted(pairs):
    return [(" ".join(words), " ".join(changed)) for words, changed in pairs if is_grammatical(" ".join(changed))]


def replaced(words, i, *others):
    return [*words[:i], *others, *words[i + 1 :]]


AGREEMENT = {
    "is": "are",
    "has": "have",
    "stands": "stand",
    "sits": "sit",
    "lies": "lie",
    "rests": "rest",
    "appears": "appear",
}
AGREEMENT |= {many: one for one, many in AGREEMENT.items()}
PLURALS = {one: many for forms in NOUNS.values() for one, many in forms if one != many}
PLURALS |= {many: one for one, many in PLURALS.items()}


def test_exchanged_articles_are_always_refused(sentences):
    other = {"a": "an", "an": "a"}
    pairs = corrupted(sentences, lambda ws, _: [replaced(ws, i, other[w]) for i, w in enumerate(ws) if w in other])
    assert len(pairs) > 8000
    assert accepted(pairs) == []


def test_missing_articles_are_always_refused(sentences):
    """But where a plural can do without: "the two balls"."""
    pairs = corrupted(sentences, lambda ws, _: [replaced(ws, i) for i, w in enumerate(ws) if w in ("a", "an", "the")])
    assert len(pairs) > 9000
    numbers = {"two", "three"}
    needed = [(ws, ch) for ws, ch in pairs if not any(a == "the" and b in numbers for a, b in pairwise(ws))]
    assert len(needed) > 8000
    assert accepted(needed) == []


def test_wrong_agreement_is_always_refused(sentences):
    """But after "the fish", which may be one or many."""

    def change(words, _):
        return [replaced(words, i, AGREEMENT[w]) for i, w in enumerate(words) if w in AGREEMENT and "fish" not in words]

    pairs = corrupted(sentences, change)
    assert len(pairs) > 2000
    assert accepted(pairs) == []


def test_wrong_plurals_are_always_refused(sentences):
    """But after "the", where one and many are both right unless a verb or a pronoun goes with them."""

    def change(words, _):
        return [
            replaced(words, i, PLURALS[w])
            for i, w in enumerate(words)
            if w in PLURALS and "the" not in words[max(0, i - 4) : i]
        ]

    pairs = corrupted(sentences, change)
    assert len(pairs) > 5000
    assert accepted(pairs) == []


def test_repeated_words_are_always_refused(sentences):
    pairs = corrupted(sentences, lambda ws, _: [replaced(ws, i, w, w) for i, w in enumerate(ws)])
    assert len(pairs) > 60000
    assert accepted(pairs) == []


def test_repeated_phrases_are_refused(sentences):
    """A phrase of two to four words said twice in a row; lists may name a thing twice."""

    def change(words, lot):
        n = lot.randint(2, 4)
        i = lot.randrange(max(1, len(words) - n))
        return [words[: i + n] + words[i:]] if len(words) >= n else []

    assert accepted(corrupted([ws for i, ws in enumerate(sentences) if i % 5 != 3], change)) == []


def test_neighbours_exchanged_are_always_refused(sentences):
    pairs = corrupted(
        sentences, lambda ws, _: [replaced(replaced(ws, i, ws[i + 1]), i + 1, ws[i]) for i in range(len(ws) - 1)]
    )
    assert len(pairs) > 60000
    assert accepted(pairs) == []


def test_any_two_words_exchanged(sentences):
    """Accepted are exchanges of words of one class (two nouns of equal number), of two articles or of two adjectives."""
    classes = defaultdict(set)
    for name, rows in rules().items():
        for row in rows:
            classes[row].add(name)
    adjectives = {"SIZE", "TEXTURE", "COLOUR"}

    def alike(one, other):
        mine, theirs = classes[one], classes[other]
        articles = {one, other} <= {"a", "an", "the", "one"}
        return bool(mine & theirs) or articles or bool(mine & adjectives and theirs & adjectives)

    def change(words, lot):
        i, j = sorted(lot.sample(range(len(words)), 2)) if len(words) > 1 else (0, 0)
        return [replaced(replaced(words, i, words[j]), j, words[i])]

    pairs = corrupted(sentences, change)
    found = accepted(pairs)
    assert 0 < len(found) < 0.03 * len(pairs)
    for before, after in found:
        exchanged = [w for w, v in zip(before.split(), after.split(), strict=True) if w != v]
        assert alike(*exchanged), (before, after)


def test_shuffled_captions_are_refused(sentences):
    pairs = corrupted(sentences, lambda ws, lot: [lot.sample(ws, len(ws))])
    assert len(accepted(pairs)) <= 0.001 * len(pairs)


def test_what_breaks_off_is_refused(sentences):
    """A caption without its last words is right only where it ends in a whole phrase."""
    ends = {row.split()[-1] for name in ("PLACE", "LIGHT", "NOUN.s", "NOUN.p", "PATTERN") for row in rules()[name]}
    ends |= {"it", "them", "left", "right"}  # "with a ball above it"
    pairs = corrupted(sentences, lambda ws, _: [ws[:i] for i in range(1, len(ws))])
    found = accepted(pairs)
    assert len(found) < 0.2 * len(pairs)
    assert {after.split()[-1] for _, after in found} <= ends


@given(st.text(max_size=60))
def test_any_text_has_an_answer(text):
    assert is_grammatical(text) in (True, False)


@given(st.lists(st.sampled_from(sorted(vocabulary())), max_size=12))
def test_case_and_commas_do_not_matter(words):
    once = is_grammatical(" ".join(words))
    assert is_grammatical(", ".join(words).title() + ".") == once
