"""Runs that are interrupted anywhere end like runs that are not, bit for bit."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time

import pytest
import yaml
from train_helpers import column, farthest, fields, finish, rows, same_weights, shorten_to, start, train, untimed

KEPT = fields("checkpoint", every=2)
OPTIMIZERS = {
    "xe": [],
    "scst": ["--optimizer", "scst", "--reward", "length", *fields("optimizer", dropout=True, max_length=10)],
    "dico": [
        *("--optimizer", "dico", "--reward", "length", "--candidates", "3"),
        *fields("optimizer", search="sample", max_length=10),
        *fields("reward", normalise="running"),
    ],
}


@pytest.fixture(scope="module")
def xe(tmp_path_factory):
    """A captioner to begin with."""
    folder = tmp_path_factory.mktemp("xe")
    train(folder, "--steps", "2", *fields("data", val=None))
    return folder / "run"


def asked(xe, optimizer):
    """The arguments of a run."""
    from_captioner = [] if optimizer == "xe" else ["--captioner", str(xe)]
    return [*OPTIMIZERS[optimizer], *from_captioner, *KEPT, "--eval-every", "2", *fields("logging", every=3)]


@pytest.mark.parametrize(
    ("optimizer", "workers"),
    [
        *((optimizer, "0") for optimizer in OPTIMIZERS),
        *(pytest.param(optimizer, "2", marks=pytest.mark.slow) for optimizer in OPTIMIZERS),
    ],
)
def test_a_run_taken_up_again_ends_the_same(tmp_path, xe, optimizer, workers):
    whole = [*asked(xe, optimizer), *fields("checkpoint", keep=9), "--workers", workers]
    train(tmp_path, *whole, run="whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    shorten_to(tmp_path / "cut", 2)
    assert "going on from step 2 of 6" in train(tmp_path, *whole, run="cut")
    assert same_weights(tmp_path / "whole", tmp_path / "cut")
    assert same_weights(tmp_path / "whole", tmp_path / "cut", "best")
    assert untimed(tmp_path / "cut") == untimed(tmp_path / "whole")
    ends = [tmp_path / run / "checkpoints/step-00000006/progress.json" for run in ("whole", "cut")]
    assert ends[0].read_text() == ends[1].read_text()


def test_a_finished_run_does_nothing(tmp_path):
    train(tmp_path, *KEPT)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("*") if p.is_file() and p.name != "run.log"}
    told = train(tmp_path, *KEPT)
    after = {p: p.stat().st_mtime_ns for p in before}
    changed = {p.name for p in before if after[p] != before[p]}
    assert changed <= {"config.yaml", "metrics.jsonl"}
    assert "this run is over: all 6 steps done" in told
    assert "a higher --steps goes on" in told
    assert [row["step"] for row in rows(tmp_path / "run", "eval")] == [0, 4, 6]


def test_more_steps_lengthen_a_run(tmp_path):
    every = fields("logging", every=4)
    train(tmp_path, *KEPT, *every, "--steps", "6", run="grown")
    assert "going on from step 6 of 10" in train(tmp_path, *KEPT, *every, "--steps", "10", run="grown")
    train(tmp_path, *KEPT, *every, "--steps", "10", run="straight")
    assert same_weights(tmp_path / "grown", tmp_path / "straight")
    straight = untimed(tmp_path / "straight")
    grown = [row for row in untimed(tmp_path / "grown") if row["step"] != 6]  # the row and evaluation of its first end
    assert grown == straight


def test_steps_of_a_schedule_that_depends_on_them_cannot_change(tmp_path):
    train(tmp_path, *fields("training", schedule="cosine"), *KEPT)
    told = train(tmp_path, *fields("training", schedule="cosine"), *KEPT, "--steps", "9", status=2)
    assert "training.steps 6, on which its learning rates depend, and now it is 9" in told


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (["--lr", "0.1"], "holds a run with training.lr 0.001, and now it is 0.1; give another --run"),
        (["--seed", "3"], "seed 0, and now it is 3"),
        (["--batch-size", "4", "--lr", "0.1"], "training.batch_size 8, and now it is 4 and 1 other setting;"),
        (["--count", "23"], "data.count 24, and now it is 23"),
        (fields("optimizer", captions=2), "optimizer.captions 1, and now it is 2"),
        (fields("captioner", side=64), "captioner.side None, and now it is 64"),
    ],
)
def test_changed_settings_are_refused_by_name(tmp_path_factory, extra, told):
    folder = tmp_path_factory.getbasetemp() / "changed"
    if not folder.exists():
        folder.mkdir()
        train(folder, "--steps", "1")
    before = (folder / "run/config.yaml").read_text()
    assert told in train(folder, "--steps", "1", *extra, status=2)
    assert (folder / "run/config.yaml").read_text() == before


def test_free_settings_may_change(tmp_path):
    train(tmp_path, *KEPT, *fields("checkpoint", keep=9))
    shorten_to(tmp_path / "run", 4)
    extra = ["--workers", "1", "--eval-every", "3", "--metrics", "length, cider", *fields("logging", every=2)]
    assert "going on from step 4" in train(tmp_path, *KEPT, *extra)


def test_a_run_from_before_there_was_a_cropping_goes_on_with_its_pixels(tmp_path):
    """0.1.0 wrote no ``captioner.cropping``; a recipe or a checkpoint that says transformers since changes nothing."""
    extra = [*KEPT, *fields("checkpoint", keep=9)]
    train(tmp_path, *extra)
    config = tmp_path / "run" / "config.yaml"
    for _ in range(2):  # the second time the file tells what the first one took
        shorten_to(tmp_path / "run", 4)
        older = yaml.safe_load(config.read_text())
        older["captioner"].pop("cropping", None)
        config.write_text(yaml.safe_dump(older))
        told = train(tmp_path, *extra, *fields("captioner", cropping="transformers"))
        assert "going on from step 4" in told
        assert "the pictures of this run stay cut as they were, captioner.cropping torchvision" in told
        assert yaml.safe_load(config.read_text())["captioner"]["cropping"] == "torchvision"
        kept = json.loads((tmp_path / "run" / "last" / "captioner.json").read_text())["tower"]
        assert kept["prep"].endswith("-careful")
    shorten_to(tmp_path / "run", 4)
    assert "cropping" not in train(tmp_path, *extra)  # as it was asked for
    new = train(tmp_path, *extra, *fields("captioner", cropping="transformers"), run="new")
    assert "going on" not in new
    kept = json.loads((tmp_path / "new" / "last" / "captioner.json").read_text())["tower"]
    assert kept["prep"].endswith("-careful-transformers")


def test_another_captioner_cannot_be_the_reference(tmp_path, xe):
    copied = tmp_path / "copy"
    shutil.copytree(xe, copied)
    extra = [*OPTIMIZERS["dico"], "--captioner", str(copied), *KEPT, *fields("checkpoint", keep=9)]
    train(tmp_path, *extra, "--steps", "4")
    shorten_to(tmp_path / "run", 2)
    shutil.rmtree(copied)
    train(tmp_path, "--steps", "3", "--seed", "9", run="copy")
    told = train(tmp_path, *extra, "--steps", "4", status=2)
    assert f"the captioner {copied} is not the one that this run began with" in told


def damage(path, how):
    """Damage a file."""
    data = path.read_bytes()
    if how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "noise":
        path.write_bytes(random.Random(0).randbytes(len(data)))
    else:
        path.unlink()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run with checkpoints at 2 and 4 of 6 steps."""
    folder = tmp_path_factory.mktemp("stopped")
    train(folder, *KEPT, *fields("checkpoint", keep=9), *fields("data", val=None))
    shorten_to(folder / "run", 4)
    return folder


@pytest.mark.parametrize("how", ["cut", "empty", "noise", "gone"])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.bin", "progress.json"])
def test_a_damaged_checkpoint_is_told_in_one_sentence(tmp_path, stopped, name, how):
    if (name, how) == ("progress.json", "gone"):
        pytest.skip("a checkpoint without it was never whole")
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    newest = tmp_path / "run/checkpoints/step-00000004"
    damage(newest / name, how)
    again = [*KEPT, *fields("data", val=None)]
    told = train(tmp_path, *again, status=2)
    lines = [line for line in told.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    assert f"the checkpoint {newest} cannot be read (" in told
    assert told.rstrip().endswith("remove it to go on from the one before")
    if (name, how) == ("model.safetensors", "cut"):
        shutil.rmtree(newest)
        assert "going on from step 2 of 6" in train(tmp_path, *again)


def test_half_written_checkpoints_are_ignored_and_removed(tmp_path, stopped):
    shutil.copytree(stopped, tmp_path, dirs_exist_ok=True)
    kept = tmp_path / "run/checkpoints"
    shutil.copytree(kept / "step-00000004", kept / ".partial-step-00000006")
    (kept / ".partial-step-00000006/optimizer.bin").write_bytes(b"half")
    # ended between the two renames that replace a folder: the one taken away is put back
    (kept / "step-00000004").rename(kept / ".partial-old-step-00000004")
    (kept / "step-00000003").mkdir()  # no progress.json: not whole
    told = train(tmp_path, *KEPT, *fields("data", val=None))
    assert "going on from step 4 of 6" in told
    assert not list(kept.glob(".partial-*"))


def test_a_start_forgets_a_run_that_left_no_checkpoint(tmp_path):
    train(tmp_path, "--steps", "4", *fields("training", lr=0))
    run = tmp_path / "run"
    shutil.rmtree(run / "checkpoints")
    assert "holds a finished run without its checkpoints" in train(tmp_path, "--steps", "2", status=2)
    shutil.rmtree(run / "last")
    assert (run / "best").exists()
    train(tmp_path, "--steps", "2", *fields("data", val=None))
    assert not (run / "best").exists()
    assert not list((run / "samples").iterdir())
    assert [row["step"] for row in rows(run)] == [1, 2]


def test_sigterm_saves_and_the_rest_is_the_same(tmp_path, xe):
    extra = [*asked(xe, "scst"), "--steps", "24", "--workers", "2", *fields("evaluation", every=9)]
    process = start(tmp_path, *extra)
    wait_for(lambda: len(row_steps(tmp_path / "run")) >= 2, process)
    process.send_signal(signal.SIGTERM)
    told = finish(process, 128 + signal.SIGTERM)
    assert "run the same command to go on" in told
    assert "Traceback" not in told
    newest = sorted((tmp_path / "run/checkpoints").glob("step-*"))[-1]
    assert f"stopped at step {int(newest.name[5:])};" in told
    assert json.loads((newest / "progress.json").read_text())["step"] < 24
    train(tmp_path, *extra)
    train(tmp_path, *extra, run="whole")
    assert same_weights(tmp_path / "run", tmp_path / "whole")
    assert untimed(tmp_path / "run") == untimed(tmp_path / "whole")


def row_steps(run):
    path = run / "metrics.jsonl"
    return [json.loads(line)["step"] for line in path.read_text().splitlines()] if path.exists() else []


def wait_for(condition, process, seconds=120):
    """Wait until a process has come so far."""
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def kill_until_done(folder, extra, chance, longest=12):
    """Start the command, kill it with SIGKILL at any moment, and again, until it ends by itself; the number of kills."""
    for kills in range(60):
        process = start(folder, *extra, start_new_session=True)
        run = folder / "run"
        seen = len(row_steps(run))
        try:
            wait_for(lambda: len(row_steps(run)) > seen or process.poll() is not None, process)  # noqa: B023
        except AssertionError:
            assert process.returncode == 0, "it failed by itself"
        time.sleep(chance.uniform(0, 0.5))
        if process.poll() is not None:
            finish(process)
            return kills
        if kills < longest:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            continue
        finish(process)
        return kills
    raise AssertionError("it never ended")


def test_kill_9_once_changes_nothing(tmp_path):
    extra = [
        "--steps",
        "16",
        *fields("checkpoint", every=1),
        *fields("evaluation", every=5),
        *fields("logging", every=2),
    ]
    assert kill_until_done(tmp_path, extra, random.Random(0), longest=1) == 1
    train(tmp_path, *extra, run="whole")
    assert same_weights(tmp_path / "run", tmp_path / "whole")
    assert same_weights(tmp_path / "run", tmp_path / "whole", "best")
    assert untimed(tmp_path / "run") == untimed(tmp_path / "whole")
    assert farthest(tmp_path / "run", tmp_path / "whole") == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "2"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_kill_9_at_any_moments_changes_nothing(tmp_path, xe, optimizer, workers):
    """A checkpoint at every step: many a kill hits the writing of one."""
    extra = [*asked(xe, optimizer), "--steps", "60", "--workers", workers, *fields("checkpoint", every=1)]
    assert kill_until_done(tmp_path, extra, random.Random(int(workers)), longest=4) >= 1
    train(tmp_path, *extra, run="whole")
    assert same_weights(tmp_path / "run", tmp_path / "whole")
    assert untimed(tmp_path / "run") == untimed(tmp_path / "whole")
    assert column(tmp_path / "run", "images") == column(tmp_path / "whole", "images")
