"""``capreward demo`` from end to end at the smallest size, and once more in the same folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from run_helpers import called, refused, small_run


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("demo") / "xe")


def test_the_demo_trains_compares_and_reports_and_then_reuses(start, tmp_path):
    folder = tmp_path / "demo"
    flags = ("demo", "-r", folder, "-c", start, "--steps", 2, "--count", 6)
    done = called(*flags)
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{folder / 'report.html'}\n"
    told = done.stderr
    for words in (
        "1/4 xe: the captioner",
        "2/4 dico: DiCO",
        "32 pictures",
        "3/4 scst: SCST",
        "4/4 All three caption 6",
    ):
        assert words in told
    assert "held-out judge" in told
    assert "Side by side, " in told
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") > 5
    assert "Three captioners on the scenes world" in page
    rewards = [row for name in ("dico", "scst") for row in rows(folder / name) if "reward" in row]
    assert len(rewards) >= 2
    assert [row["images"] for row in rewards if row["step"] == 2] == [32, 32]  # the same number of pictures
    kept = [json.loads((folder / n).read_text()) for n in ("xe-evaluation.json", "dico/evaluation.json")]
    assert [each["name"] for each in kept] == ["xe", "dico"]
    assert "/last" in kept[1]["matched"]

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
    again = called(*flags)
    assert again.exit_code == 0, again.output
    assert again.stderr.count("finished before, taken as it is") == 2
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")} == before
    table = [line for line in told.splitlines() if line.startswith(("CIDEr", "pacs", "scene-", "held"))]
    assert table == [line for line in again.stderr.splitlines() if line.startswith(("CIDEr", "pacs", "scene-", "held"))]
    assert "give another --run-folder" in refused(*flags, "--seed", 1)


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_no_captioner_no_demo(tmp_path):
    assert "there is no captioner" in refused("demo", "-r", tmp_path / "demo", "-c", tmp_path / "none")


def test_the_runs_of_the_demo_differ_in_their_way_alone():
    from trainers.commands.demo import DemoOptions, _config, _xe_config

    options = DemoOptions(Path("runs"), captioner=None, steps=40, seed=3, count=50, device="cpu", quiet=True)

    dico, scst = (_config(way, "start", options).to_dict() for way in ("dico", "scst"))
    for name in ("optimizer", "about", "departures"):
        assert dico.pop(name) or name == "departures"
        scst.pop(name)
    assert dico == scst
    assert dico["captioner"]["init"] == "start"
    assert dico["reward"]["expression"] == "pacs"
    own = _xe_config(options)
    assert own.optimizer["name"] == "xe"
    assert own.captioner.sizes["longest"] == 48
    assert own.seed == 3
