"""``capreward evaluate``: equal to scoring the same captions, the right items and metrics, and what is kept of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from run_helpers import SMALL, called, refused, small_run

from capreward import InputError
from trainers.comparison.evaluation import SCENES_METRICS, Evaluation, HeldOut, held_out_of, metrics_for
from trainers.comparison.evaluation_files import fingerprint, read_evaluation
from trainers.comparison.named_captioners import NamedCaptioner, source_of, sources_of
from trainers.runs.config_files import build, merged


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run that has learned the commonest words, and one of another seed that has not begun to."""
    folder = tmp_path_factory.mktemp("evaluate")
    return small_run(folder / "first", training={"steps": 30}), small_run(folder / "second", seed=1)


@pytest.fixture(scope="module")
def evaluated(runs):
    done = called("evaluate", *runs, "--count", 12, "--json", "--resamples", 50, "--last")
    assert done.exit_code == 0, done.output
    return done


def source(name="a", **data):
    """A captioner of a run with this data section."""
    changes = {"data": {"train": "photos.json", "val": "val.json", **data}} if data else {}
    return NamedCaptioner(
        name, f"runs/{name}/best", None, build(merged(merged(SMALL, {"optimizer": {"name": "xe"}}), changes))
    )


def test_a_run_evaluated_equals_its_captions_scored(runs, evaluated, tmp_path):
    rows = json.loads(evaluated.stdout)["systems"]
    assert [row["name"] for row in rows] == ["first", "second"]
    names = ["cider", "pacs", "judge", "repetition", "scene-facts", "scene-facts-precision", "scene-facts-recall"]
    assert list(rows[0]["scores"]) == [*names, "scene-grammar"]
    for run, row in zip(runs, rows, strict=True):
        path = tmp_path / f"{run.name}.json"
        assert called("caption", "scenes:test", "--count", 12, "-c", run / "last", "-o", path).exit_code == 0
        done = called(
            "score", path, "-r", "scenes", "-i", "scenes", "-m", SCENES_METRICS, "--json", "--resamples", 50, "-q"
        )
        scored = json.loads(done.stdout)["systems"][0]["scores"]
        judge = "clips(checkpoint=scenes-judge)" if "clips(checkpoint=scenes-judge)" in scored else "clips"
        scored["judge"] = scored.pop(judge)
        for name, found in row["scores"].items():
            assert found["value"] == pytest.approx(scored[name]["value"], rel=1e-6, abs=1e-12), name
            assert found["interval"] == pytest.approx(scored[name]["interval"], rel=1e-6, abs=1e-12), name
            assert found["signature"] == scored[name]["signature"]
    rouge = ("-m", "rouge", "--json", "--resamples", 0, "-q")
    again = json.loads(called("evaluate", runs[0], "--last", "--count", 12, *rouge).stdout)
    known = json.loads(called("score", tmp_path / "first.json", "-r", "scenes", *rouge).stdout)
    assert again["systems"][0]["scores"] == known["systems"][0]["scores"]
    assert again["systems"][0]["scores"]["rouge"]["value"] > 0
    assert rows[0]["scores"]["judge"]["value"] != rows[1]["scores"]["judge"]["value"]


def test_the_table_names_the_judge_and_what_was_done(runs, evaluated):
    assert "held-out judge" in evaluated.stderr
    assert "no reward is made of" in evaluated.stderr
    assert f"12 pictures of scenes:test, captioned by {runs[0] / 'last'} (beam search with 2 beams" in evaluated.stderr
    assert f"kept in {runs[1] / 'evaluation.json'}" in evaluated.stderr


def test_the_best_captioner_is_the_default(runs):
    done = called("evaluate", runs[0], "--count", 2, "-m", "length", "--resamples", 0, "--beams", 3)
    assert f"captioned by {runs[0] / 'best'} (beam search with 3 beams, at most 20 tokens)" in done.stderr
    assert "judge" not in done.stderr


def test_kept_evaluations_are_taken_for_the_same_question_alone(runs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(runs[0], folder)
    assert called("evaluate", folder, "--count", 4, "--resamples", 20, "-q", "-m", "cider,length").exit_code == 0
    own = source_of(str(folder))
    asked = Evaluation(HeldOut("scenes:test", count=4), "cider,length", resamples=20)
    found = read_evaluation(own, fingerprint(own, [own], asked))
    fresh = json.loads(
        called("evaluate", folder, "--count", 4, "--resamples", 20, "--json", "-m", "cider,length").stdout
    )
    scores = fresh["systems"][0]["scores"]
    assert {c.name: c.value for c in found.scores.columns()} == {n: row["value"] for n, row in scores.items()}
    assert {n: list(pair) for n, pair in found.intervals.items()} == {n: row["interval"] for n, row in scores.items()}
    assert [str(c.signature) for c in found.scores.columns()] == [row["signature"] for row in scores.values()]
    assert len(found.samples.references[0]) == 5
    for other in (
        Evaluation(HeldOut("scenes:test", count=5), "cider,length", resamples=20),
        Evaluation(HeldOut("scenes:test", count=4), "cider", resamples=20),
        Evaluation(HeldOut("scenes:test", count=4), "cider,length", resamples=20, beams=4),
    ):
        assert read_evaluation(own, fingerprint(own, [own], other)) is None
    weights = folder / "best" / "captioner.safetensors"
    weights.write_bytes((runs[1] / "best" / "captioner.safetensors").read_bytes())
    assert read_evaluation(own, fingerprint(own, [own], asked)) is None
    (folder / "evaluation.json").write_text('{"name": ')
    assert read_evaluation(own, {}) is None


def test_held_out_items_are_those_of_the_runs():
    assert held_out_of([source()]) == HeldOut("scenes:test")  # of scenes: never the items that chose the best
    photos = source(images="photos/", val_split="val", val_count=7)
    assert held_out_of([photos]) == HeldOut("val.json", "photos/", "val", 7)
    assert held_out_of([photos], count=3).count == 3
    assert held_out_of([photos, source("b", images="photos/", val_split="val", val_count=7)]).source == "val.json"
    assert held_out_of([NamedCaptioner("scenes", "scenes")]) == HeldOut("scenes:test")
    with pytest.raises(InputError, match=r"different items \(a val.json, b other.json\); give --data"):
        held_out_of([source(val="val.json"), source("b", val="other.json")])
    with pytest.raises(InputError, match="a names no held-out items; give --data"):
        held_out_of([source(val=None)])


def test_metrics_are_those_of_the_runs():
    assert metrics_for([source()], HeldOut("scenes:test")) == SCENES_METRICS
    photos = HeldOut("val.json")
    assert metrics_for([source()], photos) == "cider"
    own = {"data": {"train": "train.json", "val": "val.json"}}
    reward = {"optimizer": {"name": "scst"}, "reward": {"expression": "2*clips - repetition"}}
    rewarded = NamedCaptioner("b", "b", None, build(merged(merged(SMALL, own), reward)))
    named = NamedCaptioner(
        "c", "c", None, build(merged(merged(SMALL, own), {"evaluation": {"metrics": "rouge, cider"}}))
    )
    assert metrics_for([source(), rewarded, named], photos) == "cider, 2*clips - repetition, rouge"
    of_scenes = NamedCaptioner("d", "d", None, build(merged(SMALL, {"evaluation": {"metrics": "scene-facts"}})))
    assert metrics_for([of_scenes], photos) == "cider"


def test_other_pictures_are_opened_and_broken_ones_told(runs, tmp_path):
    assert called("scenes", tmp_path, "--count", 4, "--split", "val").exit_code == 0
    broken = tmp_path / "scenes-val-000002.png"
    broken.write_bytes(broken.read_bytes()[:80])
    ask = ("evaluate", runs[0], "--data", tmp_path / "captions.json", "--images", tmp_path, "--json", "--resamples", 0)
    told = refused(*ask)
    assert "1 held-out item cannot be read" in told
    assert f"{broken} is damaged" in told
    found = json.loads(called(*ask, "--skip-broken").stdout)["systems"][0]
    assert found["captions"] == 3
    assert list(found["scores"]) == ["cider"]


def test_names_are_the_shortest_that_differ(runs, tmp_path):
    assert [s.name for s in sources_of([str(r) for r in runs])] == ["first", "second"]
    twins = [str(Path(run) / "best") for run in runs]
    assert [s.name for s in sources_of(twins)] == twins
    assert sources_of(["scenes"])[0] == NamedCaptioner("scenes", "scenes")
    with pytest.raises(InputError, match="is named twice"):
        sources_of([str(runs[0]), f"{runs[0]}/"])


def test_refusals(runs, tmp_path):
    assert "there is no captioner" in refused("evaluate", tmp_path / "none", "--data", "scenes:test", "--count", 1)
    assert "names no held-out items" in refused("evaluate", tmp_path)
    assert "there is no captioner" in refused("evaluate", tmp_path / "none")
    unfinished = tmp_path / "unfinished"
    shutil.copytree(runs[0], unfinished)
    shutil.rmtree(unfinished / "last")
    assert "the run is not finished" in refused("evaluate", unfinished, "--last")
    shutil.rmtree(unfinished / "best")
    assert "has no captioner yet, neither best/ nor last/" in refused("evaluate", unfinished)
    assert "--split belongs to --data" in refused("evaluate", runs[0], "--split", "test")
    assert "did you mean cider" in refused("evaluate", runs[0], "--count", 2, "-m", "cidre")
    assert "must end in .html" in refused("evaluate", runs[0], "--gallery", "x.txt")


def test_galleries_and_values_per_caption(runs, tmp_path):
    page, table = tmp_path / "gallery.html", tmp_path / "values.jsonl"
    done = called(
        "evaluate", runs[0], "--count", 3, "-m", "cider", "--gallery", page, "--per-caption", table, "--markdown"
    )
    assert done.exit_code == 0
    assert page.read_text(encoding="utf-8").count("<img") == 3
    assert len(table.read_text().splitlines()) == 3
    assert done.stdout.startswith("| system | CIDEr |")
