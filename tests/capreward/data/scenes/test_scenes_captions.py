"""The captions of scenes: the same everywhere, rich, grammatical, and in other words on request."""

from __future__ import annotations

import statistics
from collections import Counter
from itertools import pairwise

import pytest

from capreward import InputError
from capreward.data.scenes import is_grammatical, scene
from capreward.data.scenes.grammar_rules import article, vocabulary
from capreward.data.scenes.recogniser import recogniser


def words_of(caption):
    return caption.lower().replace(",", "").removesuffix(".").split()


@pytest.fixture(scope="module")
def captions():
    """The five captions of 4,200 scenes, and other wordings of them."""
    found = []
    for i in range(4200):
        x = scene(("train", "val", "test")[i % 3], i)
        found.append([*x.captions, *(x.caption(n, i + 1) for n in range(5))])
    return found


def test_captions_are_the_same_everywhere():
    assert scene("train", 0).captions == (
        "A photo of a small pink kite above a group of three small white houses with stripes in the desert in the fog",
        "in the desert there are three little white cottages",
        "Some stripy white houses have a little pink kite over them",
        "a group of three white cottages and a small pink kite are standing in a dry desert",
        "This is a picture of a pink kite with a group of three small stripy houses beneath it in the desert",
    )
    assert scene("test", 7, 7).captions == (
        "in the snow at dusk we see a large checked orange crate behind a little orange heart, while there is also a "
        "little crimson pine to the right of the crate",
        "An enormous box stands in the snow.",
        "A crate behind a single small orange heart.",
        "a picture of an orange crate a small orange heart and a small crimson pine in a snowy landscape",
        "In the snow, a checked box is beside a single small red tree.",
    )
    assert scene("train", 0).caption(0, 1) == (
        "A small pink kite above the three small white houses with stripes in the desert on a foggy morning."
    )


def test_all_captions_are_grammatical(captions):
    """42,000 of them; and each is still so without capitals, commas and full stop, as tokenizers leave it."""
    wrong = [c for ten in captions for c in ten if not is_grammatical(c)]
    assert wrong == []
    assert [c for ten in captions for c in ten if not is_grammatical(" ".join(words_of(c)))] == []


def test_ten_thousand_captions_use_the_vocabulary(captions):
    used = {w for ten in captions[:1000] for c in ten for w in words_of(c)}
    assert len(used) == 212
    assert vocabulary() - used == {"four", "five"}


def test_lengths(captions):
    lengths = [[len(words_of(ten[n])) for ten in captions] for n in range(5)]
    assert 9 <= statistics.median(n for five in lengths for n in five) <= 14
    assert [statistics.median(five) for five in lengths] == [21, 8, 11, 14, 14]
    assert max(map(max, lengths)) <= 55


def test_captions_vary(captions):
    assert len({c for ten in captions for c in ten}) > 0.9 * 42000
    assert statistics.mean(len(set(ten)) for ten in captions) > 9.8
    starts = Counter(words_of(c)[0] for ten in captions for c in ten)
    assert len(starts) >= 15
    assert starts.most_common(1)[0][1] < 0.45 * 42000


def test_some_captions_are_sentences(captions):
    flat = [c for ten in captions for c in ten]
    capitals = sum(c[0].isupper() for c in flat) / len(flat)
    stops = sum(c.endswith(".") for c in flat) / len(flat)
    assert capitals == pytest.approx(0.55, abs=0.009)
    assert stops == pytest.approx(0.45, abs=0.009)
    assert not any(c.endswith(".") and not c[0].isupper() for c in flat)


def test_articles_follow_the_next_word(captions):
    found = Counter()
    for ten in captions:
        for c in ten:
            words = words_of(c)
            found.update((w, n[0] in "aeiou") for w, n in pairwise(words) if w in ("a", "an"))
    assert set(found) == {("a", False), ("an", True)}
    assert min(found.values()) > 2000
    assert (article("orange"), article("umbrella"), article("red")) == ("an", "an", "a")


def test_a_variant_is_another_wording():
    x = scene("test", 1)
    assert x.caption(0) == x.captions[0] == x.caption(0, 0)
    assert len({x.caption(0, v) for v in range(20)}) == 20
    with pytest.raises(InputError, match="has captions 0 to 4; found 5"):
        x.caption(5)


def test_the_automaton_stays_small(captions):
    assert len(recogniser()._members) < 5000
