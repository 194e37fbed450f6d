"""Runs that tune the scenes CLIP on a few scenes."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from safetensors.torch import load_file
from train_helpers import start as start_command
from train_helpers import train

TINY = {
    "objective": {"name": "grammar", "least": 1},
    "base": "scenes-clip",
    "data": {"train": "scenes:train", "count": 24, "val": "scenes:val", "val_count": 10},
    "training": {"steps": 4, "batch_size": 8, "lr": 1e-3},
    "evaluation": {"every": 2, "batch_size": 4},
    "checkpoint": {"every": 2, "keep": 9},
    "logging": {"every": 1},
}
MODEL, HEAD = "open_clip_model.safetensors", "grammar_head.safetensors"

tune = partial(train, command="tune", config=TINY)
start = partial(start_command, command="tune", config=TINY)


def tuned(run, which="last"):
    """All tensors of what a run wrote, those of the head under names of their own."""
    folder = Path(run) / which
    head = load_file(folder / HEAD) if (folder / HEAD).exists() else {}
    return {**load_file(folder / MODEL), **{f"head.{name}": tensor for name, tensor in head.items()}}


def same(one, other, which="last"):
    """Whether two runs wrote the same bits."""
    first, second = tuned(one, which), tuned(other, which)
    return first.keys() == second.keys() and all(first[n].equal(second[n]) for n in first)


def farthest(one, other):
    """The greatest difference between what two runs wrote."""
    first, second = tuned(one), tuned(other)
    return max(float((first[n] - second[n]).abs().max()) for n in first)
