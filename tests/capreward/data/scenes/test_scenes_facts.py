"""What captions state, read by hand and held against scenes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capreward.data.scenes import scene
from capreward.data.scenes.facts import Truth, count_facts
from capreward.data.scenes.grammar_rules import vocabulary
from capreward.data.scenes.stated_facts import HEADS, read_facts
from capreward.data.scenes.vocabulary import LIGHTS, PLACES


def mentions(caption):
    return [(m.kind, {v for _, v in m.attributes}, m.counts) for m in read_facts(caption).mentions]


def relations(caption):
    facts = read_facts(caption)
    return {(r.name, facts.mentions[r.a].kind, facts.mentions[r.b].kind) for r in facts.relations}


def test_mentions_by_hand():
    assert mentions("A small red ball and two huge spotted pines.") == [
        ("ball", {"small", "red"}, {1}),
        ("tree", {"large", "dotted"}, {2}),
    ]
    assert mentions("a crimson mug with stripes, some moths and the cars") == [
        ("cup", {"red", "striped"}, {1}),
        ("butterfly", set(), set()),
        ("car", set(), set()),
    ]
    assert mentions("a group of three tiny leaves, a couple of fish and a single tent") == [
        ("leaf", {"small"}, {3}),
        ("fish", set(), {2}),
        ("tent", set(), {1}),
    ]
    assert mentions("the boat above the fish") == [("boat", set(), {1}), ("fish", set(), set())]
    assert mentions("four kites") == [("kite", set(), {4})]


def test_the_object_of_before_is_no_new_one():
    assert mentions("a ball is on a box and the red ball is near two cups") == [
        ("ball", {"red"}, {1}),
        ("box", set(), {1}),
        ("cup", set(), {2}),
    ]
    assert [m[0] for m in mentions("a red ball and a red ball")] == ["ball", "ball"]
    assert [m[0] for m in mentions("ball ball ball")] == ["ball"] * 3


def test_broken_captions_are_read():
    assert mentions("red ball big on is beach two star blue") == [("ball", {"red"}, set()), ("star", set(), {2})]
    assert mentions("a red very shiny ball") == [("ball", {"red"}, {1})]
    assert mentions("a red is ball") == [("ball", set(), set())]
    assert mentions("a red and a ball") == [("ball", set(), {1})]
    assert mentions("a red blue ball") == [("ball", {"red", "blue"}, {1})]
    assert mentions("A RED BALL!!! (a, large; tree)") == [("ball", {"red"}, {1}), ("tree", {"large"}, {1})]
    assert mentions("") == mentions("a dog runs with stripes") == []


def test_relations_by_hand():
    assert relations("a ball to the left of a box") == relations("a box right of a ball") == {("left", "ball", "box")}
    assert relations("a box has a ball on its left") == {("left", "ball", "box")}
    chain = relations("a box with two balls underneath it and a star beneath them")
    assert chain == {("above", "box", "ball"), ("above", "ball", "star")}
    assert relations("two boxes with a ball over them") == {("above", "ball", "box")}
    assert (
        relations("a ball is in front of a box") == relations("the box behind the ball") == {("behind", "box", "ball")}
    )
    assert len(relations("a ball beside a box and the box is near the ball")) == 1
    assert relations("a ball above a box while a star is lower than the box with a cup next to the star") == {
        ("above", "ball", "box"),
        ("above", "box", "star"),
        ("near", "star", "cup"),
    }
    assert relations("a ball above and a box") == relations("above a ball") == relations("a ball on the left") == set()


@pytest.mark.parametrize("name", HEADS)
def test_every_wording_of_a_setting_is_read_as_itself(name):
    for wording in {**PLACES, **LIGHTS}[name]:
        facts = read_facts(f"a ball {wording}")
        assert facts.places | facts.lights == {name}, wording
        assert len(facts.mentions) == 1
        assert not facts.relations


@pytest.fixture(scope="module")
def judged():
    """For 3,000 scenes their captions and other wordings, as counts [10, 5, 4]."""
    rows = []
    for i in range(3000):
        x = scene(("train", "val", "test")[i % 3], i, seed=i % 2)
        truth = Truth.of(x)
        rows.append([count_facts(read_facts(x.caption(n, v)), truth) for v in (0, i + 1) for n in range(5)])
    return np.array(rows)


def test_all_that_captions_state_is_true(judged):
    np.testing.assert_array_equal(judged[..., 0], judged[..., 1])


def test_the_first_caption_tells_all(judged):
    np.testing.assert_array_equal(judged[:, [0, 5], :, 2], judged[:, [0, 5], :, 3])
    assert (judged[:, 1:5, :, 3].sum((1, 2)) < judged[:, 1:5, :, 2].sum((1, 2))).all()


def test_what_there_is_to_tell(judged):
    """Of a full caption: n objects, n counts, n - 1 relations, place and light, and two or three attributes each."""
    known = judged[:, 0, :, 2]
    n = known[:, 0]
    np.testing.assert_array_equal(known[:, 2], n - 1)
    np.testing.assert_array_equal(known[:, 3], n)
    np.testing.assert_array_equal(known[:, 4], 2)
    assert ((2 * n <= known[:, 1]) & (known[:, 1] <= 3 * n)).all()


FIRST = "a small pink kite above three small striped white houses in the desert in the fog"  # scene("train", 0)


@pytest.mark.parametrize(
    "caption, rows",
    [  # objects, attributes, relations, counts, setting: stated, true, known, told
        (FIRST, [(2, 2, 2, 2), (5, 5, 5, 5), (1, 1, 1, 1), (2, 2, 2, 2), (2, 2, 2, 2)]),
        (FIRST.replace("kite", "star"), [(2, 1, 2, 1), (5, 3, 5, 3), (1, 0, 1, 0), (2, 1, 2, 1), (2, 2, 2, 2)]),
        (FIRST.replace("pink", "green"), [(2, 2, 2, 2), (5, 4, 5, 4), (1, 1, 1, 1), (2, 2, 2, 2), (2, 2, 2, 2)]),
        (FIRST.replace("above", "left of"), [(2, 2, 2, 2), (5, 5, 5, 5), (1, 0, 1, 0), (2, 2, 2, 2), (2, 2, 2, 2)]),
        (FIRST.replace("above", "right of"), [(2, 2, 2, 2), (5, 5, 5, 5), (1, 0, 1, 0), (2, 2, 2, 2), (2, 2, 2, 2)]),
        (FIRST.replace("three", "two"), [(2, 2, 2, 2), (5, 5, 5, 5), (1, 1, 1, 1), (2, 1, 2, 1), (2, 2, 2, 2)]),
        (FIRST.replace("desert", "snow"), [(2, 2, 2, 2), (5, 5, 5, 5), (1, 1, 1, 1), (2, 2, 2, 2), (2, 1, 2, 1)]),
        (FIRST + " at night", [(2, 2, 2, 2), (5, 5, 5, 5), (1, 1, 1, 1), (2, 2, 2, 2), (3, 2, 2, 2)]),
        (FIRST + " and a small pink kite", [(3, 2, 2, 2), (7, 5, 5, 5), (1, 1, 1, 1), (3, 2, 2, 2), (2, 2, 2, 2)]),
        (
            FIRST + " and a kite above the houses",
            [(3, 2, 2, 2), (5, 5, 5, 5), (2, 1, 1, 1), (3, 2, 2, 2), (2, 2, 2, 2)],
        ),
        ("three white houses", [(1, 1, 2, 1), (1, 1, 5, 1), (0, 0, 1, 0), (1, 1, 2, 1), (0, 0, 2, 0)]),
        ("the houses are below a kite", [(2, 2, 2, 2), (0, 0, 5, 0), (1, 1, 1, 1), (1, 1, 2, 1), (0, 0, 2, 0)]),
        ("", [(0, 0, 2, 0), (0, 0, 5, 0), (0, 0, 1, 0), (0, 0, 2, 0), (0, 0, 2, 0)]),
    ],
)
def test_one_change_changes_its_own_counts(caption, rows):
    assert list(count_facts(read_facts(caption), Truth.of(scene("train", 0)))) == rows


def test_any_true_relation_tells_of_its_pair():
    """The full caption says "right of the ball"; that the kite is beside the house as well is true and another pair."""
    x = scene("val", 3)
    truth = Truth.of(x)
    assert truth.told == {frozenset({"house", "ball"}), frozenset({"kite", "house"})}
    said = [f"a kite {r} {o}" for r in ("right of", "next to", "above") for o in ("two houses", "two balls")]
    found = [count_facts(read_facts(c), truth)[2] for c in said]
    assert found == [(1, 1, 2, 1), (1, 0, 2, 0), (1, 1, 2, 1), (1, 0, 2, 0), (1, 0, 2, 0), (1, 1, 2, 0)]


@given(st.lists(st.sampled_from([*sorted(vocabulary()), "dog", ",", "!"]), max_size=25))
def test_whatever_is_said_counts_stay_possible(words):
    rows = count_facts(read_facts(" ".join(words)), Truth.of(scene("test", 3)))
    for stated, true, known, told in rows:
        assert 0 <= told <= true <= stated
        assert told <= known
