"""Runs of a tiny captioner on a few scenes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import torch
import yaml
from click.testing import CliRunner
from places import ROOT
from safetensors.torch import load_file

from capreward.commands import main

TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
SIZES = {"width": 32, "heads": 2, "inner": 64, "encoder_layers": 1, "decoder_layers": 1, "longest": 24, "dropout": 0.1}
TINY = {
    "captioner": {"tower": "scenes-clip", "sizes": SIZES},
    "data": {"train": "scenes:train", "count": 24, "val": "scenes:val", "val_count": 6},
    "training": {"steps": 6, "batch_size": 8, "lr": 1e-3},
    "evaluation": {"every": 4, "metrics": "cider", "beams": 2, "max_length": 12},
    "checkpoint": {"every": 100},
    "logging": {"every": 1},
}
TIMINGS = ("tokens/s",)


def arguments(folder, *extra, config=TINY, run="run", command="train"):
    """Of ``capreward train`` or another command into ``folder/run``; what differs from TINY comes as further arguments."""
    path = Path(folder) / "tiny.yaml"
    if not path.exists():
        path.write_text(yaml.safe_dump(config))
    return [command, "--config", str(path), "-r", str(Path(folder) / run), *extra]  # torchrun takes --run for its own


def train(folder, *extra, status=0, run="run", config=TINY, command="train"):
    """Run the command here; its standard error.

    An exception other than the end of the program is a failure, whatever status was expected.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    done = CliRunner().invoke(main, arguments(folder, *extra, run=run, config=config, command=command))
    torch.set_num_threads(threads)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == status, done.output
    return done.stderr


def fields(name, **values):
    """``--set`` arguments for a section."""
    return [part for key, value in values.items() for part in ("--set", f"{name}.{key}={json.dumps(value)}")]


def rows(run, kind=None):
    """The rows of a run's metrics.jsonl."""
    lines = [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]
    return [row for row in lines if kind in (None, row["kind"])]


def untimed(run):
    """All rows but for timings."""
    return [{k: v for k, v in row.items() if k not in TIMINGS} for row in rows(run)]


def column(run, name, kind="train"):
    """The values of a column."""
    return [row[name] for row in rows(run, kind)]


def weights(run, which="last"):
    """The tensors of a run's captioner."""
    return load_file(Path(run) / which / "captioner.safetensors")


def same_weights(one, other, which="last"):
    """Whether two runs ended with the same bits."""
    first, second = weights(one, which), weights(other, which)
    return first.keys() == second.keys() and all(first[n].equal(second[n]) for n in first)


def farthest(one, other):
    """The greatest difference between two runs' weights."""
    first, second = weights(one), weights(other)
    return max(float((first[n] - second[n]).abs().max()) for n in first)


def environment():
    """For a subprocess: one thread, no colours."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ACCELERATE_", "TORCHELASTIC_"))}
    one = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # MKL heeds its own variable first
    return {**kept, **one, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def start(folder, *extra, run="run", config=TINY, launcher=(), command="train", **options):
    """The command as a process of its own."""
    asked = arguments(folder, *extra, run=run, config=config, command=command)
    line = [sys.executable, *launcher, str(ROOT / "cli.py"), *asked]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(line, env=environment(), cwd=folder, **{**pipes, **options})


def finish(process, status=0, timeout=240):
    """Wait for it; its standard error."""
    _, told = process.communicate(timeout=timeout)
    assert process.returncode == status, told
    return told


def shorten_to(run, step):
    """Leave of a finished run what one has that was killed some time after the checkpoint of a step."""
    for path in (run / "checkpoints").iterdir():
        if int(path.name.removeprefix("step-")) > step:
            shutil.rmtree(path)
    shutil.rmtree(run / "last")
