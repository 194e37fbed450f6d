"""Runs from their configuration: they are checked, described, trained and resumed here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.atomic_files import write_text_beside
from capreward.errors import InputError, ProgramError
from trainers.data.dataset import len_of
from trainers.runs.config import RunConfig
from trainers.runs.folder import RunFolder

if TYPE_CHECKING:
    from accelerate import Accelerator
    from rich.table import Table

    from trainers.runs.checkpoints import Progress
    from trainers.runs.trainer import RunSettings, Trainer

# Settings that may differ between a run and its continuation, because they do not change what each step learns.
FREE = (
    "evaluation", "checkpoint", "logging", "data.workers", "data.broken_limit",
    "device", "download", "about", "departures", "data.val", "data.val_images", "data.val_split", "data.val_count",
    "reward.monitors", "reward.every", "diagnostics",
)  # fmt: skip
LENGTH = ("training.steps", "training.epochs")


@dataclass(frozen=True)
class RunKind:
    """The functions and settings that distinguish one kind of run from another.

    Attributes:
        build: A function from plain values, as a run's folder stores them, to its configuration.
        prepare: A function from configuration, folder, device and number of processes to all parts of a run, which have
            ``steps`` and ``notes``.
        trainer: A function that makes the trainer from these parts, the folder, the accelerator and the log.
        opening: A function that makes the opening sentence from the configuration, the folder and the parts.
        closing: A function that makes the closing sentence from the progress, the folder, the parts and whether there
            was anything to do.
        free: The settings that may differ between a run and its continuation.
        less_memory: The advice for a run that needs too much memory.
    """

    build: Callable[[Mapping[str, Any]], RunSettings]
    prepare: Callable[..., Any]
    trainer: Callable[..., Trainer]
    opening: Callable[[Any, RunFolder, Any], str]
    closing: Callable[[Progress, RunFolder, Any, bool], str]
    free: Sequence[str] = FREE
    less_memory: str = "halve --batch-size and double --accumulation, which learns the same"


def captioner_run_kind() -> RunKind:
    """Return the kind of run that trains captioners."""
    from trainers.runs.captioner_trainer import CaptionerTrainer
    from trainers.runs.config_files import build
    from trainers.runs.preparation import prepare

    def build_stored(values: Mapping[str, Any]) -> RunConfig:
        return build(with_cropping(values))

    return RunKind(build_stored, prepare, CaptionerTrainer, opening_line, closing_line)


def run_training(config: RunConfig, path: Path, notes: list[str], *, quiet: bool = False) -> Progress:
    """Train a captioner to the end, or go on with a run that was interrupted.

    Args:
        config: The configuration of the run.
        path: The folder of the run.
        notes: Notes for the user about defaults that were taken.
        quiet: Whether nothing is written to standard error.

    Raises:
        InputError: Something is missing or does not fit; this shows before the first step.
        ProgramError: A loss or reward is not finite.
    """
    config, begun_notes = keep_begun_settings(config, RunFolder(path))
    return run(captioner_run_kind(), config, path, [*notes, *begun_notes], quiet=quiet)


def keep_begun_settings(config: RunConfig, folder: RunFolder) -> tuple[RunConfig, list[str]]:
    """Keep the settings of a run that newer versions would set otherwise; return a note if others are asked for.

    Runs of 0.1.0 know no ``captioner.cropping`` and no ``evaluation.decoding``. To their end, their pictures are
    cropped as torchvision does and their evaluations search in the same way, even if the recipe or the released
    checkpoint that they began from has other settings now.

    Args:
        config: The configuration of now.
        folder: The folder of the run, which may have begun or not.

    Raises:
        InputError: The configuration in the folder cannot be read.
    """
    from trainers.evaluation import search_settings
    from trainers.runs.config_files import read_yaml

    if not folder.config.exists() or not folder.checkpoints():
        return config, []
    stored = read_yaml(folder.config)
    begun_cropping, section = with_cropping(stored)["captioner"]["cropping"], stored.get("evaluation")
    evaluation = search_settings.keep_begun_search(config.evaluation, section if isinstance(section, Mapping) else {})
    cropping = config.captioner.cropping
    sentence = [f"the pictures of this run stay cut as they were, captioner.cropping {begun_cropping}"]
    note = sentence if cropping not in (None, begun_cropping) else []
    return replace(config, captioner=replace(config.captioner, cropping=begun_cropping), evaluation=evaluation), note


def with_cropping(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's stored configuration; without ``captioner.cropping``, it means torchvision's cropping."""
    section = values.get("captioner")
    return {**values, "captioner": {"cropping": "torchvision", **(section if isinstance(section, Mapping) else {})}}


def run(kind: RunKind, config: RunSettings, path: Path, notes: list[str], *, quiet: bool = False) -> Progress:
    """Run any kind of run, from its beginning or its newest checkpoint to its end.

    Args:
        kind: The kind of the run.
        config: The configuration of the run.
        path: The folder of the run.
        notes: Notes for the user about defaults that were taken.
        quiet: Whether nothing is written to standard error.

    Raises:
        InputError: Something is missing or does not fit; this shows before the first step.
        ProgramError: A loss or reward is not finite.
    """
    from rich.console import Console

    from trainers.runs.log import RunLog

    folder = RunFolder(path)
    check_same(config, folder, kind)
    accelerator = make_accelerator(config, folder)
    if accelerator.is_main_process:
        folder.make()
    accelerator.wait_for_everyone()
    try:
        ready = kind.prepare(config, folder.path, device=str(accelerator.device), world=accelerator.num_processes)
    except InputError:
        folder.remove_unused()
        raise
    if accelerator.is_main_process:
        write_text_beside(folder.config, to_yaml(ready.config))
    if config.logging.trackers:
        accelerator.init_trackers(config.logging.project, config=flat(config.to_dict()))
    console = None if quiet else Console(stderr=True)
    try:
        with RunLog(folder, accelerator, console, ready.steps) as log:
            for note in [*notes, *ready.notes]:
                log.say(f"note: {note}")
            log.say(kind.opening(config, folder, ready))
            trainer = kind.trainer(ready, folder, accelerator, log)
            with explain_out_of_memory(kind.less_memory):
                done = trainer.run()
            log.say(kind.closing(done, folder, ready, trainer.worked))
    finally:
        accelerator.end_training()
    return done


@contextmanager
def explain_out_of_memory(instead: str) -> Iterator[None]:
    """Turn torch's errors about memory into a sentence.

    Args:
        instead: The advice what to do about it.

    Raises:
        ProgramError: There is not enough memory.
    """
    import torch

    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "not enough memory" not in str(error):
            raise
        reason = str(error).split("\n")[0].split(". ")[0]
        raise ProgramError(f"out of memory ({reason}); {instead}") from error


def closing_line(done: Progress, folder: RunFolder, ready: Any, worked: bool, what: str = "captioner") -> str:
    """Return the sentence that tells the result of the run."""
    best = f"; best {ready.best} {done.best:.4f} at step {done.best_step:,}" if done.best is not None else ""
    captioner_folder = folder.last if done.best is None else folder.best
    beginning = "" if worked else "this run is over: "
    more = "" if worked else "; a higher --steps goes on" if done.finished.startswith("all") else ""
    return f"{beginning}{done.finished}{best}; the {what} is in {captioner_folder}{more}"


def opening_line(config: RunConfig, folder: RunFolder, ready: Any) -> str:
    """Return the sentence that announces the run."""
    items = len_of(ready.train)
    reward = f" for {config.reward.expression}" if config.reward.expression and config.optimizer["name"] != "xe" else ""
    pictures = "a stream of pictures" if items is None else f"{items:,} pictures"
    what = f"{config.optimizer['name']}{reward} on {pictures} of {config.data.train}"
    return f"{what}, {ready.steps:,} steps, in {folder.path}"


def make_accelerator(config: RunSettings, folder: RunFolder) -> Accelerator:
    """Make the accelerator (devices, processes, precision) from the configuration and from what launched this process.

    Raises:
        InputError: The device is not there.
    """
    import torch
    from accelerate import Accelerator
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS  # one that is not in it is told with all that is wrong

    if config.device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device is {config.device!r}; it must be auto, cpu or cuda")
    if config.device == "cuda" and not torch.cuda.is_available():
        raise InputError("device is cuda, and there is no CUDA device here; give --device cpu or auto")
    mixed = {"fp32": "no"}.get(config.training.precision, config.training.precision)
    if mixed == "fp16" and (config.device == "cpu" or not torch.cuda.is_available()):
        raise InputError("fp16 needs a GPU; give --precision bf16 or fp32")
    try:
        return Accelerator(
            cpu=config.device == "cpu" or not torch.cuda.is_available(),
            mixed_precision=mixed,
            gradient_accumulation_steps=getattr(config.training, "accumulation", 1),
            log_with=[name for name in config.logging.trackers if name in LOGGER_TYPE_TO_CLASS] or None,
            project_dir=str(folder.path),
        )
    except ValueError as error:
        if "already been initialized" not in str(error):
            raise
        raise InputError(
            "this process has trained on another device or with another precision; start a new one for this run"
        ) from error


def check_same(config: RunSettings, folder: RunFolder, kind: RunKind) -> None:
    """Refuse to go on with a run of another configuration.

    Args:
        config: The configuration of now.
        folder: The folder of the run.
        kind: The kind of both runs.

    Raises:
        InputError: The configurations differ; the message names the first difference.
    """
    from trainers.data.dataset import counted
    from trainers.runs.config_files import read_yaml

    if not folder.checkpoints():
        if folder.last.exists():
            raise InputError(
                f"{folder.path} holds a finished run without its checkpoints; give another --run, or remove that folder"
            )
        return
    if not folder.config.exists():
        return
    # Settings that were added since the run began have their default values.
    before, now = flat(kind.build(read_yaml(folder.config)).to_dict()), flat(config.to_dict())
    fixed = () if config.training.schedule in ("constant", "noam") and not 0 < config.training.warmup < 1 else LENGTH
    allowed = {*kind.free, *LENGTH} - set(fixed)
    free = {n for n in {*before, *now} if n in allowed or n.split(".")[0] in allowed}
    changed = [n for n in {**now, **before} if n not in free and before.get(n) != now.get(n)]
    if changed:
        name = changed[0]
        more = f" and {counted(len(changed) - 1, 'other setting')}" if len(changed) > 1 else ""
        why = ", on which its learning rates depend" if name in LENGTH else ""
        raise InputError(
            f"{folder.path} holds a run with {name} {before.get(name)!r}{why}, and now it is {now.get(name)!r}{more}; "
            "give another --run, or remove that folder"
        )


def describe(config: RunConfig, notes: list[str]) -> None:
    """Print what the training of a captioner would do."""
    from trainers.runs.sizes import size_table

    print_outline(captioner_run_kind(), config, notes, size_table)


def print_outline(kind: RunKind, config: RunSettings, notes: list[str], table: Callable[[Any, int], Table]) -> None:
    """Print what a run would do: the configuration on standard output, sizes and steps on standard error."""
    import click
    from rich.console import Console

    accelerator = make_accelerator(config, RunFolder("runs"))
    ready = kind.prepare(config, None, device=str(accelerator.device), world=accelerator.num_processes)
    click.echo(to_yaml(ready.config), nl=False)
    console = Console(stderr=True)
    console.print(table(ready, accelerator.num_processes))
    for note in [*notes, *ready.notes]:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    sys.stderr.flush()


def to_yaml(config: RunSettings) -> str:
    """Return the configuration as YAML that ``--config`` takes."""
    import yaml

    return yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True, width=100)


def flat(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Turn ``{"a": {"b": 1}}`` into ``{"a.b": 1}``; lists become text, as trackers need it."""
    flattened: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flattened |= flat(value, f"{path}{key}.")
        else:
            flattened[f"{path}{key}"] = str(value) if isinstance(value, (list, dict)) else value
    return flattened
