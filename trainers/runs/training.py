"""A run from its configuration: checked, described, trained, and taken up again."""

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

# What may differ between a run and its continuation without changing what is learned from step to step.
FREE = (
    "evaluation", "checkpoint", "logging", "data.workers", "data.broken_limit",
    "device", "download", "about", "departures", "data.val", "data.val_images", "data.val_split", "data.val_count",
    "reward.monitors", "reward.every", "diagnostics",
)  # fmt: skip
LENGTH = ("training.steps", "training.epochs")


@dataclass(frozen=True)
class RunKind:
    """What distinguishes one kind of run from another.

    Attributes:
        build: from plain values, as a run's folder keeps them, to its configuration.
        prepare: from configuration, folder, device and number of processes to all parts of a run, which have
            ``steps`` and ``notes``.
        course: makes the run of these parts, the folder, the accelerator and the log.
        opening: what is about to happen, of the configuration, the folder and the parts.
        closing: what came of it, of the progress, the folder, the parts and whether there was anything to do.
        free: settings that may differ between a run and its continuation.
        less_memory: what to do where memory is short.
    """

    build: Callable[[Mapping[str, Any]], RunSettings]
    prepare: Callable[..., Any]
    course: Callable[..., Trainer]
    opening: Callable[[Any, RunFolder, Any], str]
    closing: Callable[[Progress, RunFolder, Any, bool], str]
    free: Sequence[str] = FREE
    less_memory: str = "halve --batch-size and double --accumulation, which learns the same"


def captioner_work() -> RunKind:
    """Training of captioners."""
    from trainers.runs.captioner_trainer import CaptionerTrainer
    from trainers.runs.config_files import build
    from trainers.runs.preparation import prepare

    def kept(values: Mapping[str, Any]) -> RunConfig:
        return build(with_cropping(values))

    return RunKind(kept, prepare, CaptionerTrainer, opening_line, closing_line)


def run_training(config: RunConfig, path: Path, notes: list[str], *, quiet: bool = False) -> Progress:
    """Train a captioner to the end, or go on with a run that was interrupted.

    Args:
        config: of the run.
        path: its folder.
        notes: what was taken without being asked, for people.
        quiet: nothing on standard error.

    Raises:
        InputError: anything that is missing or does not fit, before the first step.
        ProgramError: a loss or reward that is no number.
    """
    config, told = keep_begun_settings(config, RunFolder(path))
    return conduct(captioner_work(), config, path, [*notes, *told], quiet=quiet)


def keep_begun_settings(config: RunConfig, folder: RunFolder) -> tuple[RunConfig, list[str]]:
    """The configuration with what newer versions settle otherwise as a run began, and a note where more is asked for.

    Runs of 0.1.0 know no ``captioner.cropping`` and no ``evaluation.decoding``. Their pictures are cut as torchvision
    does and their evaluations search as they did to their end, even where the recipe or the released checkpoint that
    they began from says otherwise since.

    Args:
        config: of now.
        folder: of the run, which may have begun or not.

    Raises:
        InputError: a configuration in the folder that cannot be read.
    """
    from trainers.evaluation import search_settings
    from trainers.runs.config_files import read_yaml

    if not folder.config.exists() or not folder.checkpoints():
        return config, []
    kept = read_yaml(folder.config)
    begun, section = with_cropping(kept)["captioner"]["cropping"], kept.get("evaluation")
    evaluation = search_settings.keep_begun_search(config.evaluation, section if isinstance(section, Mapping) else {})
    asked = config.captioner.cropping
    told = [f"the pictures of this run stay cut as they were, captioner.cropping {begun}"]
    note = told if asked not in (None, begun) else []
    return replace(config, captioner=replace(config.captioner, cropping=begun), evaluation=evaluation), note


def with_cropping(values: Mapping[str, Any]) -> dict[str, Any]:
    """A run's configuration as its folder keeps it, where one without ``captioner.cropping`` means torchvision's."""
    section = values.get("captioner")
    return {**values, "captioner": {"cropping": "torchvision", **(section if isinstance(section, Mapping) else {})}}


def conduct(work: RunKind, config: RunSettings, path: Path, notes: list[str], *, quiet: bool = False) -> Progress:
    """A run of any kind, from its beginning or its newest checkpoint to its end.

    Args:
        work: its kind.
        config: of the run.
        path: its folder.
        notes: what was taken without being asked, for people.
        quiet: nothing on standard error.

    Raises:
        InputError: anything that is missing or does not fit, before the first step.
        ProgramError: a loss or reward that is no number.
    """
    from rich.console import Console

    from trainers.runs.log import RunLog

    folder = RunFolder(path)
    check_same(config, folder, work)
    accelerator = make_accelerator(config, folder)
    if accelerator.is_main_process:
        folder.make()
    accelerator.wait_for_everyone()
    try:
        ready = work.prepare(config, folder.path, device=str(accelerator.device), world=accelerator.num_processes)
    except InputError:
        folder.unmake()
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
            log.say(work.opening(config, folder, ready))
            course = work.course(ready, folder, accelerator, log)
            with told_out_of_memory(work.less_memory):
                done = course.run()
            log.say(work.closing(done, folder, ready, course.worked))
    finally:
        accelerator.end_training()
    return done


@contextmanager
def told_out_of_memory(instead: str) -> Iterator[None]:
    """Turn torch's errors about memory into a sentence.

    Args:
        instead: what to do about it.

    Raises:
        ProgramError: there is not enough.
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
    """What came of it."""
    told = f"; best {ready.best} {done.best:.4f} at step {done.best_step:,}" if done.best is not None else ""
    where = folder.last if done.best is None else folder.best
    again = "" if worked else "this run is over: "
    more = "" if worked else "; a higher --steps goes on" if done.finished.startswith("all") else ""
    return f"{again}{done.finished}{told}; the {what} is in {where}{more}"


def opening_line(config: RunConfig, folder: RunFolder, ready: Any) -> str:
    """What is about to happen."""
    items = len_of(ready.train)
    reward = f" for {config.reward.expression}" if config.reward.expression and config.optimizer["name"] != "xe" else ""
    pictures = "a stream of pictures" if items is None else f"{items:,} pictures"
    what = f"{config.optimizer['name']}{reward} on {pictures} of {config.data.train}"
    return f"{what}, {ready.steps:,} steps, in {folder.path}"


def make_accelerator(config: RunSettings, folder: RunFolder) -> Accelerator:
    """Devices, processes and precision, from the configuration and from what launched this process.

    Raises:
        InputError: a device that is not here.
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


def check_same(config: RunSettings, folder: RunFolder, work: RunKind) -> None:
    """Refuse to go on with a run of another configuration.

    Args:
        config: of now.
        folder: of the run.
        work: the kind of both.

    Raises:
        InputError: what differs.
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
    # What has been added since the run began is as it is by default.
    before, now = flat(work.build(read_yaml(folder.config)).to_dict()), flat(config.to_dict())
    fixed = () if config.training.schedule in ("constant", "noam") and not 0 < config.training.warmup < 1 else LENGTH
    allowed = {*work.free, *LENGTH} - set(fixed)
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
    """Print what training of a captioner would do."""
    from trainers.runs.sizes import size_table

    outline(captioner_work(), config, notes, size_table)


def outline(work: RunKind, config: RunSettings, notes: list[str], table: Callable[[Any, int], Table]) -> None:
    """Print what a run would do: the configuration on standard output, sizes and steps on standard error."""
    import click
    from rich.console import Console

    accelerator = make_accelerator(config, RunFolder("runs"))
    ready = work.prepare(config, None, device=str(accelerator.device), world=accelerator.num_processes)
    click.echo(to_yaml(ready.config), nl=False)
    console = Console(stderr=True)
    console.print(table(ready, accelerator.num_processes))
    for note in [*notes, *ready.notes]:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    sys.stderr.flush()


def to_yaml(config: RunSettings) -> str:
    """The configuration as it can be given back with ``--config``."""
    import yaml

    return yaml.safe_dump(config.to_dict(), sort_keys=False, allow_unicode=True, width=100)


def flat(values: dict[str, Any], path: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``; lists as text, as trackers want it."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{path}{key}.")
        else:
            found[f"{path}{key}"] = str(value) if isinstance(value, (list, dict)) else value
    return found
