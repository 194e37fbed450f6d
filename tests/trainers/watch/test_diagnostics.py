"""What watches a reward in a run: its columns, its settings, and that learning does not notice it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from train_helpers import TWO, column, fields, finish, rows, same_weights, shorten_to, start, train, untimed

import capreward
from capreward.data.images.scene_keys import names_scenes
from capreward.errors import InputError
from capreward.samples import Samples
from trainers.data import open_dataset
from trainers.runs.config_files import build
from trainers.watch.config import DiagnosticsConfig
from trainers.watch.diagnostics import Diagnostics, load_diagnostics, means

ON = fields("diagnostics", every=1, images=3, grammar="scene-grammar")
SCST = ["--optimizer", "scst", "--reward", "length", *fields("optimizer", max_length=10, candidates=3)]
WATCHED = {"judge", "judge_spread", "reward_spread", "repetition", "novel", "novel_phrases"}


@pytest.fixture(scope="module")
def xe(tmp_path_factory):
    """A captioner to begin with."""
    folder = tmp_path_factory.mktemp("xe")
    train(folder, "--steps", "8", "--lr", "1e-2", *fields("data", val=None))
    return folder / "run"


def configured(**diagnostics):
    values = {"optimizer": {"name": "scst"}, "reward": {"expression": "length"}, "training": {"steps": 1}}
    return build({**values, "diagnostics": diagnostics})


def loaded(config, *rest):
    """The diagnostics of a run, as its preparation loads them."""
    return load_diagnostics(config.diagnostics, config.reward.expression, *rest, scenes=names_scenes(config.data.train))


def test_images_are_evenly_spaced_over_all_processes_and_micro_batches():
    watch = Diagnostics(DiagnosticsConfig(images=5), {})
    whole = watch.select_images(0, 24, 24)
    assert whole == [0, 5, 10, 15, 20]
    parts = [i + first for first in range(0, 24, 4) for i in watch.select_images(first, 4, 24)]
    assert parts == whole
    assert watch.select_images(0, 3, 3) == [0, 1, 2]
    assert [watch.due(step) for step in (8, 9, 10)] == [False, True, False]


def test_means_are_over_what_applies():
    columns = {"a": np.array([1.0, np.nan, 3.0]), "b": np.array([np.nan])}
    assert means(columns) == {"a": 2.0}


def test_columns_are_what_the_evaluators_say():
    dataset = open_dataset("scenes:train", count=4)
    watch, notes = loaded(configured(grammar="scene-grammar", novelty=False), dataset, None, {})
    assert notes == []
    assert watch.columns == ["repetition", "judge", "grammar"]
    items = [dataset[i] for i in (1, 3)]
    captions = [items[0].captions[0], "a a a a", items[1].captions[2], "two dogs are is"]
    keys, pictures = [i.key for i in items], [i.picture for i in items]
    found = watch.measure(captions, keys, pictures, [list(i.captions) for i in items])
    samples = Samples(captions, images=[pictures[0], pictures[0], pictures[1], pictures[1]])
    judge = capreward.load("clips(checkpoint=scenes-judge)")
    np.testing.assert_allclose(found["judge"], judge.per_caption(samples, judge.prepare(samples))[:, 0], rtol=1e-5)
    assert found["grammar"].tolist() == [1, 0, 1, 0]
    assert found["repetition"][1] == pytest.approx((3 / 4 + 2 / 3 + 1 / 2 + 0) / 4)
    assert {name: len(values) for name, values in watch.measure([], [], [], []).items()} == dict.fromkeys(found, 0)


def test_rows_tell_what_the_captions_are_like(tmp_path, xe):
    told = train(tmp_path, *SCST, *ON, "--captioner", str(xe), "--steps", "3", "--eval-every", "2")
    run = tmp_path / "run"
    for row in rows(run, "train"):
        assert row.keys() >= WATCHED | {"grammar", "unfinished", "kl", "length"}
        assert all(row[name] is not None for name in WATCHED)
        assert 0 <= row["unfinished"] <= 1
        assert row["judge_spread"] > 0
    for row in rows(run, "eval"):
        assert {"judge", "grammar", "repetition", "length", "novel", "novel_phrases", "unfinished"} <= row.keys()
    assert "left out" not in told
    assert "judge" in told
    assert len(list(run.glob("training-phrases-*.npz"))) == 1
    novel = column(run, "novel", "eval")[0]
    known = {c for i in range(24) for c in open_dataset("scenes:train", count=24).captions(i)}
    assert novel == 1 or known


def test_metrics_of_the_same_name_are_not_judged_twice(tmp_path):
    metrics = fields("evaluation", metrics="cider, length, repetition")
    train(tmp_path, *SCST, *ON, *metrics, "--steps", "0", *fields("diagnostics", judge=None))
    row = rows(tmp_path / "run", "eval")[0]
    assert row["length"] > 0
    assert "judge" not in row
    assert list(row).count("repetition") == 1


def test_learning_does_not_notice(tmp_path, xe):
    base = [*SCST, *fields("optimizer", dropout=True), "--captioner", str(xe), "--steps", "3"]
    train(tmp_path, *base, *ON, run="watched")
    told = train(tmp_path, *base, "--no-diagnostics", run="alone")
    assert same_weights(tmp_path / "watched", tmp_path / "alone")
    assert "watch" not in told
    assert not {"judge", "novel", "reward_spread"} & set().union(*rows(tmp_path / "alone"))
    assert column(tmp_path / "watched", "repetition") != [None] * 3
    assert "repetition" in rows(tmp_path / "alone", "train")[0]


def test_a_run_that_is_watched_goes_on_the_same(tmp_path, xe):
    """Rows, warnings and what has been told, bit for bit."""
    whole = [*SCST[:2], *SCST[4:], *ON, "--captioner", str(xe), "--lr", "3e-2", "--steps", "8", "--eval-every", "3"]
    whole += ["--reward", "-1*length"]
    whole += [*fields("checkpoint", every=2, keep=9), *fields("logging", every=1), *fields("diagnostics", every=2)]
    train(tmp_path, *whole, run="whole")
    assert rows(tmp_path / "whole", "warning")  # captions get shorter and shorter
    for step in (2, 6):
        shutil.copytree(tmp_path / "whole", tmp_path / f"cut{step}")
        shorten_to(tmp_path / f"cut{step}", step)
        assert f"going on from step {step} of 8" in train(tmp_path, *whole, run=f"cut{step}")
        assert untimed(tmp_path / f"cut{step}") == untimed(tmp_path / "whole")
        assert same_weights(tmp_path / "whole", tmp_path / f"cut{step}")
        ends = [tmp_path / r / "checkpoints/step-00000008/progress.json" for r in ("whole", f"cut{step}")]
        assert ends[0].read_text() == ends[1].read_text()


def test_settings_of_the_watch_may_change_on_the_way(tmp_path, xe):
    base = [*SCST, "--captioner", str(xe)]
    train(tmp_path, *base, *ON, "--steps", "1")
    train(tmp_path, *base, "--no-diagnostics", "--steps", "2")
    assert [row["step"] for row in rows(tmp_path / "run", "train")] == [1, 2]


def test_settings_that_came_later_are_as_by_default(tmp_path, xe):
    """A run of before there were any goes on."""
    base = [*SCST, "--captioner", str(xe), "--no-diagnostics"]
    train(tmp_path, *base, "--steps", "1")
    path = tmp_path / "run/config.yaml"
    kept = [line for line in path.read_text().splitlines() if "entropy_weight" not in line and "unbased" not in line]
    path.write_text("\n".join(kept) + "\n")
    assert "going on from step 1" in train(tmp_path, *base, "--steps", "2")


def test_what_is_left_out_is_said():
    dataset = open_dataset("scenes:train", count=3)
    scenes = loaded(configured(), dataset, None, {})[0]
    assert "judge" in scenes.columns
    photos = configured()
    object.__setattr__(photos.data, "train", "photos.json")
    watch, notes = loaded(photos, dataset, None, {})
    assert "judge" not in watch.columns
    assert "no held-out judge watches the reward (none is named); give --judge" in notes[0]
    named, _ = loaded(configured(judge="rouge", grammar=None), dataset, None, {})
    assert named.columns == ["repetition", "judge"]
    assert loaded(configured(enabled=False), dataset, None, {}) == (None, [])


def test_a_judge_that_is_rewarded_judges_nothing():
    dataset = open_dataset("scenes:train", count=3)
    with pytest.raises(InputError, match="diagnostics.judge: length is part of the reward length"):
        loaded(configured(judge="length"), dataset, None, {})
    with pytest.raises(InputError, match="diagnostics.judge: unknown evaluator 'clipz'"):
        loaded(configured(judge="clipz"), dataset, None, {})
    with pytest.raises(InputError, match="is a list; name one evaluator"):
        loaded(configured(judge="cider, rouge"), dataset, None, {})
    own = build(
        {
            "optimizer": {"name": "scst"},
            "reward": {"expression": "clips(checkpoint=scenes-judge)"},
            "training": {"steps": 1},
        }
    )
    watch, notes = loaded(own, dataset, None, {})
    assert "judge" not in watch.columns
    assert "is part of the reward" in notes[0]


def test_flags_stand_for_settings(tmp_path):
    told = train(tmp_path, *SCST, "--judge", "clipz", status=2)
    assert "diagnostics.judge: unknown evaluator 'clipz'; did you mean clips" in told
    assert not (tmp_path / "run/config.yaml").exists()
    assert not list(tmp_path.glob("run/training-phrases-*"))


def test_micro_batches_tell_what_the_whole_tells(tmp_path, xe):
    extra = ["--optimizer", "dico", "--captioner", str(xe), "--reward", "length", *ON, *fields("data", val=None)]
    extra += [*fields("optimizer", dropout=False, search_dropout=False, max_length=10, tau=1), "--steps", "2"]
    extra += fields("training", eps=1e-2)
    train(tmp_path, *extra, "--batch-size", "2", "--accumulation", "4", run="four")
    train(tmp_path, *extra, "--batch-size", "8", run="one")
    for name in (*WATCHED, "grammar", "unfinished"):
        found = [column(tmp_path / run, name) for run in ("four", "one")]
        assert found[0] == pytest.approx(found[1], abs=1e-5, nan_ok=True), name


@pytest.mark.slow
def test_two_processes_tell_what_one_tells(tmp_path, xe):
    extra = ["--optimizer", "dico", "--captioner", str(xe), "--reward", "length", "--accumulation", "2", *ON]
    extra += [*fields("optimizer", dropout=False, search_dropout=False, max_length=10, tau=1), "--steps", "4"]
    extra += [*fields("training", eps=1e-2), "--device", "cpu", "--eval-every", "2"]
    finish(start(tmp_path, *extra, "--batch-size", "4", run="two", launcher=TWO))
    train(tmp_path, *extra, "--batch-size", "8", run="one")
    for name in (*WATCHED, "grammar", "unfinished"):
        found = [column(tmp_path / run, name) for run in ("two", "one")]
        assert found[0] == pytest.approx(found[1], abs=1e-4, nan_ok=True), name
    for name in ("judge", "grammar", "novel_phrases", "length"):
        found = [column(tmp_path / run, name, "eval") for run in ("two", "one")]
        assert found[0] == pytest.approx(found[1], abs=1e-5), name
