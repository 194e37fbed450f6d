"""METEOR against stored values of meteor-1.5.jar; the index of the real data is built on first use (ten seconds)."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
from meteor_golden import GOLDEN
from places import FIXTURES

from capreward.errors import InputError
from capreward.text.meteor import (
    MeteorEngine,
    alignment_search,
    branches,
    corpus_score,
    score_from_statistics,
    summable,
)

JAR = json.loads((FIXTURES / "meteor_jar.json").read_text(encoding="utf-8"))
LONG = json.loads((FIXTURES / "meteor_long.json").read_text(encoding="utf-8"))

VALUES = [
    ("a dog runs in the park", ["a dog is running through a park", "the puppy runs in a park"], 0.3196413750944834),
    ("the cat sat on the mat", ["a cat sits on a mat", "a cat is on the rug"], 0.37417456858415504),
    ("a man is riding a horse", ["a person rides a horse"], 0.3860112511037072),
    ("i don't know bob's dog", ["i do n't know bob 's dog"], 0.2739667945895073),
    ("a black-and-white dog", ["a black and white dog"], 1.0),
    ("cafe", ["café"], 0.6),
    ("", ["a dog"], 0.0),
    ("a dog", [""], 0.0),
    ("", [""], 0.0),
]


@pytest.fixture(scope="module")
def engine() -> MeteorEngine:
    return MeteorEngine()


def scores(engine: MeteorEngine, rows: list) -> list[float]:
    return score_from_statistics(engine.statistics([row[0] for row in rows], [row[1] for row in rows])).tolist()


def test_known_values(engine):
    assert scores(engine, VALUES) == [value for *_, value in VALUES]


def test_golden_captions_and_corpus(engine):
    assert scores(engine, GOLDEN) == [value for *_, value in GOLDEN]
    stats = engine.statistics([row[0] for row in GOLDEN], [row[1] for row in GOLDEN])
    assert corpus_score(summable(stats).sum(0)) == 0.2896401776781528
    assert corpus_score(summable(stats[:2]).sum(0)) == 0.34249702738507193


def test_jar_statistics_and_scores(engine):
    check_jar(engine, JAR)


@pytest.fixture
def pruned(monkeypatch) -> list[int]:
    """How many states each narrowing at a reference position with many matches had to choose from."""
    seen: list[int] = []
    first = branches._lowest_costs

    def watched(ranking):
        seen.append(len(ranking))
        return first(ranking)

    monkeypatch.setattr(branches, "_lowest_costs", watched)
    return seen


def test_captions_that_go_round_in_a_circle_equal_the_jar(engine, pruned):
    check_jar(engine, LONG)
    assert len(pruned) > 500
    assert max(pruned) > 40 * 400


def check_jar(engine: MeteorEngine, jar: dict) -> None:
    rows = jar["rows"]
    stats = engine.statistics([row["candidate"] for row in rows], [row["references"] for row in rows])
    wrong = [row for row, mine in zip(rows, stats.tolist(), strict=True) if row["statistics"] != mine]
    assert wrong == []
    assert score_from_statistics(stats).tolist() == [row["score"] for row in rows]
    assert corpus_score(summable(stats).sum(0)) == jar["corpus"]


@pytest.mark.parametrize("fixture", [JAR, LONG], ids=["varied", "long"])
@pytest.mark.parametrize("first", [40, 1024])
def test_ranking_all_branches_at_once_is_the_same_search(engine, monkeypatch, pruned, fixture, first):
    """Even where there are few branches, so that every rule of the search is met in both forms."""
    monkeypatch.setattr(alignment_search, "MANY", 0)
    monkeypatch.setattr(branches, "FIRST", first)
    check_jar(engine, fixture)
    assert len(pruned) > 1000


def test_costs_beyond_64_bits_are_searched_one_by_one(engine, monkeypatch, pruned):
    monkeypatch.setattr(branches, "LIMIT", 0)
    rows = LONG["rows"][1:12]  # without the longest, on which this takes ten seconds
    stats = engine.statistics([row["candidate"] for row in rows], [row["references"] for row in rows])
    assert stats.tolist() == [row["statistics"] for row in rows]
    assert pruned == []


def test_hundreds_of_equal_words_are_aligned_with_as_many(engine, pruned):
    """Ten million branches, of which each place keeps 40; every second word of the reference is matched."""
    stats = engine.statistics(["a " * 600], [["a dog " * 600]])
    assert stats[0, :4].tolist() == [600, 1200, 600, 600]
    assert stats[0, 20:].tolist() == [600, 600, 600]
    assert len(pruned) > 500


def test_statistics_of_one_pair(engine):
    expected = [3, 5, 1, 2, 2, 2, 1, 1, *[0] * 12, 2, 3, 3]
    assert engine.statistics(["a red bus"], [["a big bus is red"]])[0, :4].tolist() == [3, 5, 1, 2]
    assert engine.statistics(["bus red the"], [["the big bus is red"]])[0].tolist() == [*expected[:20], 3, 3, 3]
    assert engine.statistics(["the bus red"], [["the bus is red"]])[0].tolist() == [3, 4, 1, 2, *expected[4:]]


def test_lone_stem_match_is_worth_less_than_no_chunk(engine):
    # "dogs" and "dog" match by stem and by synonym; a single inexact word does not pay for opening a chunk.
    assert engine.statistics(["dogs"], [["dog"]])[0, 20:].tolist() == [0, 0, 0]
    assert engine.statistics(["red dogs"], [["red dog"]])[0, 20:].tolist() == [1, 2, 2]


def test_words_with_equal_hashes_count_as_equal(engine):
    assert scores(engine, [("1s", ["35"]), ("90s dog", ["925 dog"]), ("1s", ["36"])]) == [1.0, 1.0, 0.0]


def test_first_of_equal_references_wins(engine):
    stats = engine.statistics(["dog"], [["a cat is", "some cows"]])
    assert stats[0, :4].tolist() == [1, 3, 0, 2]


def test_order_of_references_leaves_scores_alone(engine):
    rows = [row for row in JAR["rows"] if len(row["references"]) > 1]
    turned = [(row["candidate"], row["references"][::-1]) for row in rows]
    assert len(rows) > 100
    assert scores(engine, turned) == [row["score"] for row in rows]


def test_candidate_bars_vanish_and_reference_bars_separate(engine):
    assert scores(engine, [("a |||bus", ["a bus"]), ("a bus", ["a cat|||a bus"])]) == [1.0, 1.0]
    assert scores(engine, [("a\nbus\r", ["a\tbus"])]) == [1.0]


def test_prepared_references_serve_many_candidates(engine):
    rows = JAR["rows"][:40]
    prepared = pickle.loads(pickle.dumps(engine.prepare_references([row["references"] for row in rows])))
    assert len(prepared) == 40
    items = [3, 3, 0, 39, 3]
    captions = [rows[3]["candidate"], rows[4]["candidate"], rows[0]["candidate"], rows[39]["candidate"], "a dog"]
    got = engine.statistics(captions, prepared, items)
    want = engine.statistics(captions, [rows[item]["references"] for item in items])
    np.testing.assert_array_equal(got, want)
    assert got[0].tolist() == rows[3]["statistics"]


def test_engine_pickles_without_its_tables(engine):
    engine.statistics(["a"], [["a"]])
    data = pickle.dumps(engine)
    assert len(data) < 1000
    assert scores(pickle.loads(data), VALUES[:1]) == [VALUES[0][2]]


def test_no_captions_give_no_rows(engine):
    assert engine.statistics([], []).shape == (0, 23)


@pytest.mark.parametrize(
    "candidates, references, items, message",
    [
        (["a"], [[]], None, "item 0 has none"),
        (["a"], ["a dog"], None, "single string"),
        (["a", "b"], [["a"]], None, "2 captions for 1 items"),
        (["a"], [["a"]], [1], "item 1"),
        (["a"], [["a"]], [-1], "item -1"),
    ],
)
def test_bad_input_is_named(engine, candidates, references, items, message):
    with pytest.raises(InputError, match=message):
        engine.statistics(candidates, references, items)
