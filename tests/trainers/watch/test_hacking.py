"""The rules that tell a gamed reward: when they speak, and that noise does not make them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from train_helpers import fields, rows, train

from trainers.runs.folder import RunFolder
from trainers.watch.rules import drift, judge_parts, warnings_of
from trainers.watch.warnings import MOST, Watch


def history(reward, judge, spreads=(1.0, 1.0), every=10):
    """Rows of training."""
    return [
        {
            "kind": "train",
            "step": every * (n + 1),
            "reward": r,
            "judge": j,
            "reward_spread": spreads[0],
            "judge_spread": spreads[1],
        }
        for n, (r, j) in enumerate(zip(reward, judge, strict=True))
    ]


def column(name, values, kind="train", every=10):
    return [{"kind": kind, "step": every * n, name: value} for n, value in enumerate(values)]


def names(found):
    return [warning.name for warning in found]


def noisy(n, slope, noise, seed):
    return np.linspace(0, slope, n) + noise * np.random.default_rng(seed).standard_normal(n)


def test_reward_and_judge_that_part_are_told():
    found = warnings_of(history(noisy(24, 2.0, 0.1, 1), noisy(24, -1.0, 0.1, 2), spreads=(2.0, 0.5)))
    assert names(found) == ["judge-parts"]
    sentence = found[0].sentence
    assert sentence.startswith("since step ")
    assert "the reward rose by " in sentence
    assert "while the held-out judge fell by " in sentence
    assert "times its spread at the start" in sentence


def test_numbers_of_the_sentence():
    """Exact ramps: the smallest window is told that shows it, here of all 8 rows."""
    found = judge_parts(history(np.arange(8) / 2, -np.arange(8) / 10, spreads=(0.5, 0.1), every=5))
    assert found.sentence == (
        "since step 5 the reward rose by 3.5, 7.0 times its spread at the start while the held-out judge fell by 0.7, "
        "7.0 times its spread at the start"
    )
    flat = history(np.arange(8) / 2, -np.arange(8) / 10, spreads=(0.0, 0.1))
    assert "rose by 3.5 while" in judge_parts(flat).sentence  # all captions had one reward at the start


def test_parting_late_in_a_run_is_told():
    """What rose together at first and parts then: the newest rows count, not the start of the run."""
    up = noisy(64, 3.0, 0.05, 3)
    judge = np.concatenate([np.linspace(0, 2, 48), np.linspace(2, 1, 16)]) + noisy(64, 0, 0.05, 4)
    assert judge_parts(history(up[:48], judge[:48])) is None
    found = judge_parts(history(up, judge))
    assert found is not None
    assert int(found.sentence.split()[2]) > 320


@pytest.mark.parametrize(
    ("reward", "judge"),
    [
        (noisy(40, 2.0, 0.1, 1), noisy(40, 2.0, 0.1, 2)),  # both rise
        (noisy(40, -2.0, 0.1, 1), noisy(40, -2.0, 0.1, 2)),  # both fall
        (noisy(40, -2.0, 0.1, 1), noisy(40, 2.0, 0.1, 2)),  # the judge rises while the reward falls
        (noisy(40, 2.0, 0.1, 1), noisy(40, 0.0, 0.1, 2)),  # the judge stays
        (noisy(40, 0.2, 0.001, 1), noisy(40, -0.2, 0.001, 2)),  # a fifth of the spread is no matter
        (noisy(7, 9.0, 0.1, 1), noisy(7, -9.0, 0.1, 2)),  # seven rows are too few
    ],
)
def test_what_does_not_part(reward, judge):
    assert judge_parts(history(reward, judge)) is None


def test_rows_without_a_judge_are_passed_over():
    some = history(np.arange(20) / 4, -np.arange(20) / 4)
    for row in some[1::2]:
        del row["judge"]
    assert judge_parts(some) is not None
    for row in some:
        row["judge"] = None
    assert judge_parts(some) is None
    assert warnings_of([]) == []


def ever(find, some):
    """Whether a warning would have been told after any row."""
    return any(find(some[:n]) for n in range(len(some), 0, -2))


@pytest.mark.parametrize(
    ("kind", "size", "most"),
    # in spreads: a row's mean over 16 images has a noise of a quarter at most
    [("noise", 0.25, 0), ("noise", 0.05, 0), ("walk", 0.05, 5), ("wandering", 0.1, 0), ("rising", 0.25, 0)],
)
def test_false_alarms_are_rare(kind, size, most):
    """Of 200 histories of 40 rows each, looked at after every second row; 1,000 in all."""
    rng = np.random.default_rng(7)
    alarms = 0
    for _ in range(200):
        series = size * rng.standard_normal((2, 40))
        if kind == "walk":
            series = series.cumsum(1)
        elif kind == "wandering":  # it forgets a fifth of where it was with every row
            for n in range(1, 40):
                series[:, n] += 0.8 * series[:, n - 1]
        elif kind == "rising":
            series += np.linspace(0, 2, 40)
        alarms += ever(judge_parts, history(*series))
    assert alarms <= most


def test_what_parts_is_found():
    """The same noise with a rise and a fall of one spread in 40 rows: nearly always told."""
    rng = np.random.default_rng(8)
    found = 0
    for _ in range(50):
        series = 0.1 * rng.standard_normal((2, 40)) + np.outer([1, -1], np.linspace(0, 1, 40))
        found += ever(judge_parts, history(*series))
    assert found >= 45


def test_drift_is_the_mean_step_over_its_error():
    blocks = np.array([0.0, 1.0, 1.5, 3.0, 2.0])
    steps = np.array([1.0, 0.5, 1.5, -1.0])
    assert drift(blocks) == pytest.approx(steps.mean() / (steps.std(ddof=1) / 2))
    assert drift(np.arange(8.0)) == float("inf")
    assert drift(-np.arange(8.0)) == float("-inf")
    assert drift(np.ones(8)) == 0


COLLAPSES = [
    ("repeats", "repetition", [0.02, 0.03, 0.13, 0.14, 0.15], [0.02, 0.03, 0.1, 0.11, 0.12]),
    ("repeats", "repetition", [0.2, 0.3, 0.41, 0.42, 0.43], [0.2, 0.3, 0.36, 0.37, 0.38]),  # not yet twice as much
    ("length-drifts", "length", [10, 15, 21, 21, 21], [10, 15, 19, 19.5, 20]),
    ("length-drifts", "length", [12, 9, 5, 5, 5], [12, 9, 6.5, 6.5, 6.5]),
    ("never-ends", "unfinished", [0.3, 0.4, 0.5, 0.5, 0.5], [0.3, 0.35, 0.39, 0.39, 0.39]),
    ("grammar-falls", "grammar", [0.9, 0.8, 0.7, 0.7, 0.7], [0.9, 0.85, 0.8, 0.8, 0.8]),
]


@pytest.mark.parametrize(("name", "key", "bad", "good"), COLLAPSES)
def test_collapses_are_told(name, key, bad, good):
    assert names(warnings_of(column(key, bad))) == [name]
    assert warnings_of(column(key, good)) == []
    assert "candidates" in warnings_of(column(key, bad))[0].sentence
    held_out = warnings_of(column(key, [bad[0], bad[-1]], kind="eval"))
    assert names(held_out) == [name]
    assert "held-out captions" in held_out[0].sentence
    assert warnings_of(column(key, [good[0], good[-1]], kind="eval")) == []
    assert warnings_of(column(key, bad[:1])) == []


def test_sentences_have_the_numbers():
    assert warnings_of(column("repetition", [0.02, 0.3, 0.3, 0.36]))[0].sentence == (
        "the repetition of candidates is 0.32, after 0.02 at step 0"
    )
    assert warnings_of(column("length", [9.0, 20.0], "eval"))[0].sentence == (
        "held-out captions grew from 9.0 to 20.0 a caption since step 0"
    )
    assert warnings_of(column("unfinished", [0.0, 0.5], "eval"))[0].sentence == (
        "50% of held-out captions have no end token, after 0% at step 0"
    )
    assert warnings_of(column("grammar", [0.9, 0.5], "eval"))[0].sentence == (
        "the grammar of held-out captions fell from 0.90 to 0.50 since step 0"
    )


@pytest.mark.parametrize(
    ("key", "low", "noise"), [("repetition", 0.05, 0.05), ("unfinished", 0.1, 0.05), ("grammar", 0.8, 0.05)]
)
def test_noise_is_no_collapse(key, low, noise):
    rng = np.random.default_rng(9)
    alarms = 0
    for _ in range(100):
        values = np.clip(low + noise * rng.standard_normal(40), 0, 1)
        alarms += ever(warnings_of, column(key, values.tolist()))
    assert alarms <= 2


class Told:
    """A log that keeps warnings."""

    def __init__(self):
        self.said = []

    def warn(self, step, name, sentence):
        self.said.append((step, name))


def test_each_warning_is_told_once_and_remembered(tmp_path):
    folder, log = RunFolder(tmp_path), Told()
    values = [0.9, 0.8, 0.5, 0.5, 0.5, 0.5]
    watch = Watch(folder, log)
    with folder.metrics.open("w") as stream:
        for n, value in enumerate(values):
            row = {"reward": 1.0, "grammar": value}
            stream.write(json.dumps({"step": n, "kind": "train", **row}) + "\n")
            watch.add_row("train", n, row)
    assert log.said == [(4, "grammar-falls")]
    assert watch.warned == ["grammar-falls"]
    again = Watch(folder, Told())
    again.restore(3, [])
    again.add_row("train", 4, {"reward": 1.0, "grammar": 0.5})
    assert again.log.said == [(4, "grammar-falls")]
    later = Watch(folder, Told())
    later.restore(5, ["grammar-falls"])
    later.add_row("train", 6, {"reward": 1.0, "grammar": 0.4})
    assert later.log.said == []


def test_runs_without_a_reward_are_not_watched(tmp_path):
    watch = Watch(RunFolder(tmp_path), Told())
    for n, value in enumerate([0.0, 0.9, 0.9, 0.9, 0.9]):
        watch.add_row("eval", n, {"unfinished": value})
    assert watch.log.said == []


def test_long_runs_are_kept_short(tmp_path):
    watch = Watch(RunFolder(tmp_path), Told())
    for n in range(2 * MOST):
        watch.add_row("train", n, {"judge": float(n), "judge_spread": 1.0})
    kept = watch._rows["train"]
    assert len(kept) <= MOST
    assert kept[0]["step"] == 0
    assert kept[-1]["step"] == 2 * MOST - 1
    steps = [row["step"] for row in kept]
    assert steps == sorted(steps)
    assert all(row["judge"] <= row["step"] for row in kept)


HACKED = [
    *("--optimizer", "scst", "--captioner", "scenes", "--count", "64", "--batch-size", "8"),
    *fields("optimizer", max_length=24, candidates=4),
    *fields("diagnostics", every=1, images=8, grammar="scene-grammar", novelty=False),
    *fields("data", val=None),
]


@pytest.fixture
def kites(tmp_path):
    """A reward that counts words."""
    path = tmp_path / "kites.py"
    path.write_text(
        "import capreward\n\n\n@capreward.reward('kites')\ndef kites(captions, **context):\n"
        "    return [float(sum(w in ('kite', 'kites', 'small') for w in c.split())) for c in captions]\n"
    )
    return path


def test_a_gamed_reward_is_told(tmp_path, kites):
    told = train(tmp_path, *HACKED, "--steps", "10", "--lr", "1.5e-3", "--reward", "kites", "--plugin", str(kites))
    found = {row["name"]: row for row in rows(tmp_path / "run", "warning")}
    assert {"judge-parts", "grammar-falls"} <= found.keys()
    parts = found["judge-parts"]
    assert f"warning (judge-parts): {parts['told']}" in told
    assert f"warning (judge-parts): {parts['told']}" in (tmp_path / "run/run.log").read_text()
    assert 8 <= parts["step"] <= 10
    assert told.count("warning (judge-parts)") == 1


@pytest.mark.slow
def test_a_reward_that_is_earned_is_not_warned_of(tmp_path):
    train(tmp_path, *HACKED, "--steps", "12", "--lr", "2e-4", "--reward", "cider-d")
    assert rows(tmp_path / "run", "warning") == []
    assert {"judge", "grammar", "judge_spread"} <= rows(tmp_path / "run", "train")[-1].keys()
