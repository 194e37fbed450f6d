"""Two processes learn what one learns from batches of twice the size."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from train_helpers import TINY, TWO, column, farthest, fields, finish, rows, start, train

STILL = fields("captioner", sizes={**TINY["captioner"]["sizes"], "dropout": 0})
# With a large eps Adam does not blow up the rounding of gradients that are next to nothing.
STEADY = [*fields("training", eps=1e-2), *fields("evaluation", batch_size=2)]


def check_same(folder, extra):
    """One process with batches of 8 and two with 4 each."""
    done = finish(start(folder, *extra, "--batch-size", "4", "--device", "cpu", run="two", launcher=TWO))
    assert "Traceback" not in done
    train(folder, *extra, "--batch-size", "8", "--device", "cpu", run="one")
    for name in ("loss", "logprob", "grad_norm"):
        assert column(folder / "two", name) == pytest.approx(column(folder / "one", name), abs=1e-5), name
    assert column(folder / "two", "images") == column(folder / "one", "images")
    assert farthest(folder / "two", folder / "one") < 1e-5
    two, one = rows(folder / "two", "eval"), rows(folder / "one", "eval")
    assert [row["step"] for row in two] == [row["step"] for row in one]
    for name in ("cider", "length", "unfinished"):
        assert [row[name] for row in two] == pytest.approx([row[name] for row in one], abs=1e-9)
    for step in (row["step"] for row in one):
        texts = [
            (folder / run / f"samples/step-{step:08d}.jsonl").read_text(encoding="utf-8") for run in ("two", "one")
        ]
        assert texts[0] == texts[1]


def test_two_processes_learn_the_same_with_xe(tmp_path):
    extra = ["--steps", "10", "--eval-every", "5", "--metrics", "cider, length", "--val-count", "7"]
    check_same(tmp_path, [*extra, *STILL, *STEADY])


@pytest.fixture(scope="module")
def xe(tmp_path_factory):
    """A captioner to begin with."""
    folder = tmp_path_factory.mktemp("xe")
    train(folder, "--steps", "20", "--lr", "1e-2", *STILL, *fields("data", val=None))
    return folder / "run"


@pytest.mark.slow
def test_two_processes_learn_the_same_with_dico(tmp_path, xe):
    extra = ["--optimizer", "dico", "--captioner", str(xe), "--reward", "length + cider-d", "--accumulation", "2"]
    options = fields("optimizer", dropout=False, search_dropout=False, max_length=10, tau=1)
    steps = ["--steps", "10", "--eval-every", "5", "--metrics", "cider, length", *fields("reward", normalise="running")]
    check_same(tmp_path, [*extra, *options, *steps, *STEADY])
    for name in ("reward", "kl", "length", "reward/cider-d", "chosen", "accuracy"):
        assert column(tmp_path / "two", name) == pytest.approx(column(tmp_path / "one", name), abs=1e-5), name


@pytest.mark.slow
def test_two_processes_with_samples_and_more_captions(tmp_path, xe):
    """Samples differ by process, and what is logged is the mean over both."""
    extra = ["--optimizer", "scst", "--captioner", str(xe), "--reward", "length", "--baseline", "mean", "--steps", "3"]
    extra += [*fields("optimizer", max_length=10), "--batch-size", "4", "--device", "cpu"]
    finish(start(tmp_path, *extra, run="two", launcher=TWO))
    assert all(row["reward"] > 0 for row in rows(tmp_path / "two", "train"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it finds processes in /proc")
def test_two_processes_go_on_after_kill_9(tmp_path):
    extra = ["--steps", "30", "--batch-size", "4", "--device", "cpu", *fields("checkpoint", every=2)]
    process = start(tmp_path, *extra, launcher=TWO, start_new_session=True)
    kept = tmp_path / "run/checkpoints"
    end = time.monotonic() + 200
    while not list(kept.glob("step-*")) and time.monotonic() < end:
        time.sleep(0.05)
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for number in (process.pid, *map(int, workers)):  # the launcher's end is not that of its processes
        os.kill(number, signal.SIGKILL)
    process.communicate()
    newest = max(int(path.name[5:]) for path in kept.glob("step-*"))
    assert 0 < newest < 30
    assert "going on from step" in finish(start(tmp_path, *extra, launcher=TWO))
    finish(start(tmp_path, *extra, launcher=TWO, run="whole"))
    assert column(tmp_path / "run", "loss") == pytest.approx(column(tmp_path / "whole", "loss"), abs=1e-6)
    assert farthest(tmp_path / "run", tmp_path / "whole") < 1e-5


@pytest.mark.slow
def test_a_reward_that_is_no_number_ends_both_processes(tmp_path, xe):
    plugin = tmp_path / "odd.py"
    plugin.write_text(
        "import os\nimport capreward\ncalls = []\n\n@capreward.reward('odd')\ndef odd(captions, **context):\n"
        "    calls.append(1)\n    bad = len(calls) == 3 and os.environ.get('RANK') == '1'\n"
        "    return [float('nan') if bad else 1.0 for _ in captions]\n"
    )
    extra = ["--optimizer", "dico", "--captioner", str(xe), "--reward", "odd", "--plugin", str(plugin)]
    extra += fields("optimizer", max_length=10)
    process = start(tmp_path, *extra, "--batch-size", "4", "--device", "cpu", launcher=TWO)
    told = finish(process, 1)
    assert "Error: a reward at step 2 is not finite" in told
    names = sorted(path.name for path in (tmp_path / "run").glob("nonfinite-*"))
    assert names == ["nonfinite-step-00000002-0.json", "nonfinite-step-00000002-1.json"]
