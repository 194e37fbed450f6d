"""Runs that tune an evaluator: their start, their description and their continuation."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers.runs.folder import RunFolder
from trainers.runs.training import RunKind, closing_line, print_outline, run
from trainers.tuning.config import TuneConfig, build

if TYPE_CHECKING:
    from rich.table import Table

    from trainers.runs.checkpoints import Progress
    from trainers.tuning.preparation import PreparedTuning

# Settings that may differ between a run and its continuation, because they do not change what each step learns.
FREE = (
    "evaluation", "checkpoint", "logging", "slim", "fp16", "data.workers", "data.broken_limit", "device", "download",
    "about", "departures", "data.val", "data.val_images", "data.val_split", "data.val_count", "data.val_more_captions",
    "data.val_more_images", "training.chunk",
)  # fmt: skip


def tuning_run_kind() -> RunKind:
    """Return the kind of run that tunes evaluators."""
    from trainers.tuning.preparation import prepare
    from trainers.tuning.trainer import TuningTrainer

    closing = partial(closing_line, what="tuned CLIP")
    hint = "give --set training.chunk=64, which learns the same"
    return RunKind(build, prepare, TuningTrainer, opening_line, closing, FREE, hint)


def run_tuning(config: TuneConfig, path: Path, notes: list[str], *, quiet: bool = False) -> Progress:
    """Tune an evaluator to the end, or go on with a run that was interrupted.

    Args:
        config: The configuration of the run.
        path: The folder of the run; evaluators load ``best`` and ``last`` in it.
        notes: Notes for the user about defaults that were taken.
        quiet: Whether nothing is written to standard error.

    Raises:
        InputError: Something is missing or does not fit; this shows before the first step.
        ProgramError: The loss is not finite.
    """
    return run(tuning_run_kind(), config, path, notes, quiet=quiet)


def describe(config: TuneConfig, notes: list[str]) -> None:
    """Print what a run would do: the configuration on standard output, sizes and steps on standard error."""
    print_outline(tuning_run_kind(), config, notes, size_table)


def opening_line(config: TuneConfig, folder: RunFolder, ready: PreparedTuning) -> str:
    """Return the sentence that announces the run."""
    what = "pairs" if ready.train.has_images else "items of captions alone"
    items = f"{len(ready.train.pairs):,} {what} of {config.data.train}"
    return f"{config.objective['name']} from {config.base} on {items}, {ready.steps:,} steps, in {folder.path}"


def parameter_counts(ready: PreparedTuning) -> dict[str, int]:
    """Return the numbers of trained and of frozen parameters."""
    both = [*ready.clip.model.parameters(), *ready.extra.parameters()]
    learn = sum(p.numel() for p in both if p.requires_grad)
    return {"trained": learn, "frozen": sum(p.numel() for p in both) - learn}


def size_table(ready: PreparedTuning, world: int) -> Table:
    """Return a table of the sizes of the run, for people."""
    from rich.table import Table

    training, counts = ready.config.training, parameter_counts(ready)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(justify="right")
    per_step = training.batch_size * world
    items = len(ready.train.pairs)
    rows: dict[str, Any] = {
        "parameters, trained": f"{counts['trained']:,}",
        "parameters, frozen": f"{counts['frozen']:,}",
        "memory, weights, gradients, moments": f"{16 * counts['trained'] / 2**20:,.0f} MB",
        "memory, frozen tower": f"{4 * counts['frozen'] / 2**20:,.0f} MB",
        "items": f"{items:,}",
        "held-out items": "none" if ready.val is None else f"{len(ready.val.pairs):,}",
        "pairs per step": f"{per_step:,}",
        "steps": f"{ready.steps:,}",
        "epochs": f"{ready.steps * per_step / items:,.2f}",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table
