"""The sizes of a run before it starts: parameters, memory and steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.data.dataset import len_of
from trainers.runs.preparation import PreparedRun

if TYPE_CHECKING:
    from rich.table import Table


def parameter_counts(ready: PreparedRun) -> dict[str, int]:
    """Return the numbers of trained parameters, of the frozen tower's, and of the reference policy's."""
    from torch import nn

    trained = sum(p.numel() for p in ready.captioner.parameters())
    towers = [part for part in ready.captioner.frozen_parts() if isinstance(part, nn.Module)]
    visual = [getattr(tower, "visual", tower) for tower in towers]
    frozen = sum(p.numel() for part in visual for p in part.parameters())
    return {"trained": trained, "frozen": frozen, "reference": trained if ready.optimizer.needs_reward else 0}


def memory_estimate(ready: PreparedRun) -> dict[str, float]:
    """Return the bytes that a process needs, by their use.

    Weights, gradients and the two moments of AdamW are exact (float32, 16 bytes per trained parameter). Activations are
    estimated: for each learned caption and token, what the decoder's layers keep for the backward pass, and the logits
    that are kept or computed again (at most 256 MB).
    """
    from trainers.captioners.logprobs import MOST_KEPT_LOGITS

    counts = parameter_counts(ready)
    captioner, training = ready.captioner, ready.config.training
    options = ready.optimizer.options()
    captions = int(options.get("candidates", options.get("captions", 1)))
    tokens = training.batch_size * captions * min(int(options.get("max_length", 30)), captioner.longest)
    layers = len(list(getattr(captioner, "decoder", [])))
    half = 2 if training.precision != "fp32" else 4
    return {
        "weights, gradients, moments": 16.0 * counts["trained"],
        "frozen tower": 4.0 * counts["frozen"],
        "reference policy": 4.0 * counts["reference"],
        "activations (estimate)": float(tokens * layers * 30 * captioner.width * half),
        "logits": 4.0 * min(MOST_KEPT_LOGITS, tokens * captioner.vocabulary.size),
    }


def size_table(ready: PreparedRun, world: int) -> Table:
    """Return a table of the sizes of the run, for people."""
    from rich.table import Table

    training, counts, memory = ready.config.training, parameter_counts(ready), memory_estimate(ready)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    for name, count in counts.items():
        if count:
            table.add_row(f"parameters, {name}", f"{count:,}")
    for name, size in memory.items():
        if size:
            table.add_row(f"memory, {name}", f"{size / 2**20:,.0f} MB")
    per_step = training.batch_size * training.accumulation * world
    items = len_of(ready.train)
    table.add_row("images", "a stream" if items is None else f"{items:,}")
    table.add_row("held-out images", "none" if ready.val is None else f"{len(ready.val):,}")
    table.add_row("images per step", f"{per_step:,}")
    table.add_row("steps", f"{ready.steps:,}")
    if items:
        table.add_row("epochs", f"{ready.steps * per_step / items:,.2f}")
    return table
