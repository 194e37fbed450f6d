"""Every benchmark runs at a small size: what it writes has all its figures, and both sides of it gave the same."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from places import ROOT

BENCHMARKS = ROOT / "benchmarks"
ELSEWHERE = {"common.py", "gpu.py", "gpu_parts.py"}  # nothing to run, and what test_gpu_script.py runs
slow = partial(pytest.param, marks=pytest.mark.slow)


@dataclass(frozen=True)
class Run:
    """A benchmark at a small size.

    Attributes:
        script: its name.
        options: of the small size.
        check: of the figures.
        keeps: the files it writes into its folder, without ``.json``.
        data: the folder of the real data that it needs.
        modules: the packages that it needs beyond the declared ones.
        folder: it keeps its runs in a folder of its own.
    """

    script: str
    options: str
    check: Callable[[dict[str, Any]], None]
    keeps: tuple[str, ...] = ()
    data: str | None = None
    modules: tuple[str, ...] = ()
    java: bool = False
    folder: bool = False


def check_ratio(row):
    """A row of common.against."""
    assert {"ours_s", "peer_s", "ratio", "ratio_range", "runs"} <= set(row)
    least, most = row["ratio_range"]
    assert 0 < least <= row["ratio"] <= most < math.inf
    assert min(row["ours_s"], row["peer_s"]) > 0
    assert row["ratio"] == pytest.approx(row["peer_s"] / row["ours_s"], rel=1e-6)  # one pair was run


def check_retrieval(figures):
    ways = figures["sizes"]["300"]
    assert set(ways) == {"ours", "table", "sort"}
    for way in ways.values():
        assert way["seconds"] > 0
        for side in ("t2i_mean_rank", "i2t_mean_rank"):
            assert way[side] == ways["ours"][side]
            assert 1 < way[side] < 150


def check_scenes(figures):
    rates = ("pictures_per_s", "captions_per_s", "grammar_captions_per_s", "facts_captions_per_s")
    assert set(figures) == set(rates)
    assert all(0 < rate < math.inf for rate in figures.values())


def check_finecapeval(figures):
    assert figures.pop("rows") == 50
    assert set(figures) == {"aspects", "with overall metrics", "aspects, within a process"}
    assert all(0 < row["least"] <= row["seconds"] <= row["most"] < math.inf for row in figures.values())


def check_decoding(figures):
    for case in ("dico", "scenes", "small"):
        assert set(figures[case]) == {"beam5", "greedy", "sample5"}
        for method, row in figures[case].items():
            check_ratio(row)
            assert row["mean_tokens"] > 1
            assert row.get("same_captions") == (None if method == "sample5" else 1)


def check_train_step(figures):
    for length in ("natural", "longest"):
        row = figures[length]
        assert 0 < row["ratio"] < math.inf
        assert row["ours"]["loss"] == pytest.approx(row["peer"]["loss"], abs=1e-4)
        assert 0 < row["ours"]["loss"] < 10
        assert row["ours"]["tokens"] == row["peer"]["tokens"] > 5
        assert row["captions_per_s"] > 0


def check_paradigms(figures):
    assert (figures["steps"], figures["seeds"]) == (1, 1)
    assert set(figures["rows"]) == {"xe (start)", "scst, cider-d", "dico, cider-d"}
    for row in figures["rows"].values():
        assert set(row) == {"judge", "CIDEr", "repetition", "grammar", "precision", "recall", "clips", "pacs"}
        assert all(low <= value <= high for value, low, high in row.values())
        assert min(row["judge"][0], row["CIDEr"][0]) > 0


def check_photos(figures):
    assert set(figures) == {"constant", "loss_first_and_last", "xe", "dico", "seconds"}
    assert figures["constant"]["cider"] > 0
    assert figures["constant"]["caption"]
    assert all(0 < loss < 20 for loss in figures["loss_first_and_last"])
    assert [row["step"] for row in figures["xe"]] == [0, 2]
    assert [row["step"] for row in figures["dico"]] == [0, 1]
    assert all(math.isfinite(row["cider"]) for kind in ("xe", "dico") for row in figures[kind])


def check_grammar(figures):
    assert {part: figures[part]["images"] for part in ("train", "val", "test")}.keys() == {"train", "val", "test"}
    assert figures["train"]["images"] == 240
    for rule in ("prefixes", "whole-captions", "bigrams", "shortness"):
        low, high = figures[rule]["all"]["interval"]
        assert 0 <= low <= figures[rule]["all"]["auc"] <= high <= 1
        assert 0 < figures[rule]["accuracy"] < 1
    assert figures["bigrams"]["all"]["auc"] > 0.6
    assert set(figures["scenes"]) == {"tuned_on_coco", "tuned_on_scenes"}
    assert figures["scenes"]["tuned_on_scenes"]["all"]["auc"] > 0.9


def check_text(figures):
    assert set(figures) == {"pipeline", "cider", "reward", "meteor"}
    for row in (figures["pipeline"], figures["cider"], *figures["reward"].values(), figures["meteor"]):
        check_ratio(row)
    assert figures["meteor"]["first_use_s"] > 0


def check_processes(figures):
    assert figures["memory"].keys() == {"100"}
    rows = [*figures["startup"].values(), figures["memory"]["100"]]
    assert all(0 < row["wall_s"] < math.inf and row["peak_mb"] > 5 for row in rows)
    assert figures["startup"]["help"]["wall_s"] < figures["startup"]["score_5000"]["wall_s"]


def check_clip(figures):
    for per_image in ("1_per_image", "5_per_image", "20_per_image"):
        check_ratio(figures["forward"][per_image])
    assert figures["loader"]["images"] == 2
    assert 0 < figures["loader"]["loader_s"] < figures["loader"]["whole_s"] < math.inf


def check_clip_peer(figures):
    for per_image in ("1_per_image", "5_per_image"):
        check_ratio(figures["torchmetrics"][per_image])


CLIP = "--model ViT-S-32-alt --images 2 --runs 1 --only"
RUNS = {
    "retrieval": Run("retrieval", "--sizes 300 --runs 1", check_retrieval),
    "scenes": Run("scenes", "--count 10", check_scenes),
    "finecapeval": Run("finecapeval", "--images 10 --runs 1", check_finecapeval),
    "decoding": Run("decoding", "--images 1 --runs 1", check_decoding),
    "train_step": Run("train_step", "--images 1 --runs 1 --small", check_train_step),
    "paradigms": Run(
        "paradigms", "--steps 1 --seeds 1 --pictures 8 --reward cider-d", check_paradigms, (".md", ".svg"), folder=True
    ),
    "photos": Run(
        "photos", "--steps 2 --dico-steps 1 --held-out 150", check_photos, data="flickr8k/photos_112", folder=True
    ),
    "grammar": Run(
        "grammar", "--steps 2 --images 300", check_grammar, data="coco_val2017_captions", folder=True
    ),
    "text": Run(
        "text_metrics", "--captions 100 --runs 1 --only pipeline,cider,reward,meteor", check_text,
        data="coco_karpathy_test", java=True,
    ),
    "processes": Run(
        "text_metrics", "--captions 100 --runs 1 --sizes 100 --only startup,memory", check_processes,
        data="coco_karpathy_test",
    ),
    "clip": Run("clip_score", f"{CLIP} forward,loader", check_clip, data="coco_photos"),
    "clip-torchmetrics": Run(
        "clip_score", f"{CLIP} torchmetrics", check_clip_peer, data="coco_photos",
        modules=("torchmetrics", "transformers"),
    ),
}  # fmt: skip
QUICK = ("scenes", "finecapeval")  # the others import torch once or more for each side


@pytest.mark.parametrize("name", [name if name in QUICK else slow(name) for name in RUNS])
def test_a_benchmark_runs_at_a_small_size(tmp_path, request, name):
    run = RUNS[name]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    if run.java and shutil.which("java") is None:
        pytest.skip("the peer needs Java")
    for module in run.modules:
        pytest.importorskip(module)
    if run.data is not None:
        data = request.getfixturevalue("shared_data")
        if not (data / run.data).exists():
            pytest.skip(f"no {run.data} in {data}")
        environment["CAPREWARD_DATA"] = str(data)
    before = contents(BENCHMARKS / "results")
    out = tmp_path / "out"
    line = [sys.executable, str(BENCHMARKS / f"{run.script}.py"), *run.options.split(), "--out", str(out)]
    line += ["--folder", str(tmp_path / "runs")] * run.folder
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [path] = out.glob("*.json")
    assert {p.name for p in out.iterdir()} == {path.name, *(path.stem + ending for ending in run.keeps)}
    kept = json.loads(path.read_text(encoding="utf-8"))
    assert set(kept) == {"command", "seed", "machine", "figures"}
    assert kept["command"].startswith(f"python benchmarks/{run.script}.py")
    assert kept["machine"]["packages"]["torch"]
    run.check(kept["figures"])
    assert contents(BENCHMARKS / "results") == before


def contents(folder):
    """What lies in a folder, and when it was written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_every_benchmark_is_run():
    there = {path.name for path in BENCHMARKS.glob("*.py")} - ELSEWHERE
    assert there == {f"{run.script}.py" for run in RUNS.values()}


def test_every_benchmark_says_where_its_figures_go():
    for script in sorted(BENCHMARKS.glob("*.py")):
        text = script.read_text(encoding="utf-8")
        assert script.name in ELSEWHERE or "options(__doc__)" in text, script.name
        assert script.name in ELSEWHERE or "RESULTS" not in text, script.name
