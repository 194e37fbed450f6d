"""``benchmarks/gpu.py`` at its small size, on the CPU: every part runs, and what it must find is found."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time

import pytest
from places import ROOT

CLIP = ["clip_speed small bf16", "clip_speed small fp32"]
DECODING = ["decoding_speed small fp32", "decoding_speed small bf16"]
STEPS = ["dico_step natural", "dico_step longest"]
PARTS = ["score_parity", "decoding_parity", *CLIP, *STEPS, "resumed_run", *DECODING, "tests"]


@pytest.fixture
def gpu(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu

    return gpu


@pytest.fixture
def given(gpu, tmp_path):
    return gpu.Given(gpu.SMALL, "cpu", tmp_path, lambda: 60.0)


def check_kept(kept):
    figures = kept["figures"]
    assert list(figures["parts"]) == PARTS
    assert all(part["seconds"] > 0 for part in figures["parts"].values())
    assert sum(part["seconds"] for part in figures["parts"].values()) <= figures["seconds"]
    assert (figures["device"], figures["small"]) == ("cpu", True)
    assert kept["command"] == "python benchmarks/gpu.py --minutes 6 --small"
    assert kept["machine"]["packages"]["torch"]


def check_parity(parts):
    """The CPU agrees with itself; half precision nearly does."""
    for rows in (parts["score_parity"]["scenes-clip"], parts["score_parity"]["small"]):
        assert rows["fp32"]["largest"] <= rows["rounding"] < 1e-4
        assert rows["rounding"] < rows["fp16"]["largest"] < rows["bf16"]["largest"] < 0.05
    rows = parts["decoding_parity"]["small"]
    assert rows["fp32"]["same_captions"] == {"beam5": 1, "greedy": 1, "sample5": 1}
    assert rows["fp32"]["logprobs"]["largest"] <= rows["rounding"] < 1e-3
    assert rows["rounding"] < rows["fp16"]["logprobs"]["largest"] < rows["bf16"]["logprobs"]["largest"] < 0.5


def check_resumed(run):
    """The run that was taken up again ends like the one without a stop."""
    assert (run["stopped_at"], run["ended_at"]) == (2, 4)
    assert len(run["losses"]["cut"]) == 4
    assert all(math.isfinite(loss) for loss in run["losses"]["cut"])
    assert run["losses"]["cut"] == run["losses"]["whole"]
    assert run["weight_difference"] == run["loss_difference"] == 0


def check_speed(parts):
    """Both sides do the same before they are timed."""
    for name in STEPS:
        ours, peer = parts[name]["ours"], parts[name]["peer"]
        assert ours["tokens"] == peer["tokens"] > 0
        assert ours["loss"] == pytest.approx(peer["loss"], abs=1e-4)
        assert parts[name]["ratio"] > 0
    for method in ("beam5", "greedy"):
        assert parts["decoding_speed small fp32"][method]["same_captions"] == 1
    assert all(parts[name]["5_per_image"]["ratio"] > 0 for name in CLIP)


def test_the_small_size_runs_every_part(tmp_path):
    """One test, since the script takes most of its time."""
    output = tmp_path / "results" / "gpu.json"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "benchmarks/gpu.py", "-o", str(output)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    kept = json.loads(output.read_text())
    check_kept(kept)
    parts = {name: part["figures"] for name, part in kept["figures"]["parts"].items()}
    check_parity(parts)
    check_resumed(parts["resumed_run"])
    check_speed(parts)
    assert parts["tests"]["passed"] == parts["tests"]["tests"] >= 10


def called(gpu, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--small", *arguments])
    with pytest.raises(SystemExit) as ended:
        gpu.main()
    return ended.value.code


def test_what_does_not_fit_is_left_out(gpu, tmp_path, monkeypatch):
    output = tmp_path / "gpu.json"
    assert called(gpu, monkeypatch, "-o", str(output), "--minutes", "0.8", "--only", "score_parity,tests") == 0
    told = {name: part["left_out"] for name, part in json.loads(output.read_text())["figures"]["parts"].items()}
    assert told.keys() == {"score_parity", "tests"}
    assert told["score_parity"] == "it takes about 25 s, and 0 s are left for it"


def test_a_part_that_is_not_there_is_refused(gpu, tmp_path, monkeypatch, capsys):
    assert called(gpu, monkeypatch, "-o", str(tmp_path / "gpu.json"), "--only", "speed") == 2
    assert "no part begins with 'speed'; the parts are score_parity" in capsys.readouterr().err
    assert not (tmp_path / "gpu.json").exists()


def test_a_part_that_fails_is_kept_with_its_error_and_the_script_goes_on(gpu, tmp_path, monkeypatch):
    def fails(given):
        raise ValueError("no such number")

    parts = {"first": gpu.Part(fails, 1), "second": gpu.Part(lambda given: {"number": 3}, 1)}
    monkeypatch.setattr(gpu, "parts_of", lambda given: parts)
    output = tmp_path / "gpu.json"
    assert called(gpu, monkeypatch, "-o", str(output)) == 1
    told = json.loads(output.read_text())["figures"]["parts"]
    assert told["first"]["error"] == "ValueError: no such number"
    assert told["second"]["figures"] == {"number": 3}


def test_a_part_is_stopped_when_the_time_is_up(gpu, given):
    begin = time.perf_counter()
    found = gpu.attempt(lambda _: time.sleep(30), given, 0.2)
    assert time.perf_counter() - begin < 20
    assert found["error"].startswith("TimeoutError: stopped after 0 s")
    assert gpu.failed(found)


@pytest.mark.parametrize("holds, wrong", [({"a": True}, False), ({"a": True, "b": False}, True), ({}, False)])
def test_a_figure_that_is_not_what_it_must_be_is_a_failure(gpu, given, holds, wrong):
    assert gpu.failed(gpu.attempt(lambda _: {"holds": holds}, given, 9)) is wrong
