"""The common part of all trainers: steps, evaluations, checkpoints, the best weights, and resuming."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from capreward.atomic_files import write_text_beside
from capreward.errors import InputError, ProgramError
from trainers.data.dataset import counted
from trainers.runs.checkpoints import Checkpoints, Progress
from trainers.runs.folder import RunFolder
from trainers.runs.running_means import RunningMeans
from trainers.runs.signals import StopSignals

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor, nn

    from trainers.data.config import SourcesConfig
    from trainers.evaluation.config import JudgingConfig
    from trainers.runs.config import CheckpointConfig, LoggingConfig, UpdatesConfig
    from trainers.runs.log import RunLog


class RunSettings(Protocol):
    """The sections that every run's configuration has."""

    @property
    def seed(self) -> int:
        """The seed of everything that is drawn."""

    @property
    def device(self) -> str:
        """The device: ``auto``, ``cpu`` or ``cuda``."""

    @property
    def data(self) -> SourcesConfig:
        """The section about the data."""

    @property
    def training(self) -> UpdatesConfig:
        """The section about the updates of the weights."""

    @property
    def evaluation(self) -> JudgingConfig:
        """The section about the evaluations."""

    @property
    def checkpoint(self) -> CheckpointConfig:
        """The section about the checkpoints."""

    @property
    def logging(self) -> LoggingConfig:
        """The section about the log."""

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain values."""


class Resumable(Protocol):
    """Endless batches that store their position."""

    def __iter__(self) -> Iterator[Any]:
        """Yield the batches after the last one taken."""

    def state_dict(self) -> dict[str, Any]:
        """Return the position."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a stored position."""


class NonFinite(Exception):
    """The error of a loss, gradient or reward that is not finite.

    Attributes:
        what: ``loss``, ``gradient`` or ``reward``.
        rows: What each image of the step was trained with, ready for JSON.
    """

    def __init__(self, what: str, rows: list[dict[str, Any]]) -> None:
        super().__init__(what)
        self.what = what
        self.rows = rows


class Trainer(ABC):
    """A trainer, which trains from the first step, or from the newest checkpoint, to the end of the run.

    Subclasses define a step (``update``), the evaluation of held-out items (``evaluate``, which ends with
    ``keep_if_best``) and the writing of the weights (``write``).

    Args:
        config: The configuration of the run.
        steps: The number of steps of the whole run.
        folder: The folder of the run.
        accelerator: The accelerator: devices, processes and precision.
        log: The log of the run.

    Attributes:
        progress: The progress of the run.
        worked: Whether ``run`` had anything to do.
        batches: The batches of training items, which subclasses set.
        model: The model whose gradient is clipped, which subclasses set.
    """

    batches: Resumable
    model: nn.Module

    def __init__(
        self, config: RunSettings, steps: int, folder: RunFolder, accelerator: Accelerator, log: RunLog
    ) -> None:
        self.settings, self.steps = config, steps
        self.folder, self.accelerator, self.log = folder, accelerator, log
        self.progress = Progress()
        self.checkpoints = Checkpoints(folder, accelerator)
        self.running_means = RunningMeans()
        self.worked = False

    @abstractmethod
    def update(self, batches: Iterator[Any]) -> None:
        """Make one update of the weights, and count it in ``progress.step``.

        Raises:
            NonFinite: A loss, gradient or reward is not finite; the weights are as before.
        """

    @abstractmethod
    def evaluate(self) -> None:
        """Evaluate the held-out items, log the values, and call ``keep_if_best``."""

    @abstractmethod
    def write(self, path: Path) -> None:
        """Fill a folder with the trained weights."""

    def run(self) -> Progress:
        """Train to the end, from the position that the run's folder stores.

        Raises:
            ProgramError: A loss, gradient or reward is not finite; the batch is kept in the run's folder.
            InputError: There are too many broken samples, or the disk is full.
            SystemExit: A signal asked to stop; a checkpoint is written.
        """
        self.restore()
        if self.progress.finished:
            return self.progress
        self.worked = True
        with StopSignals(self.accelerator) as stop_signals:
            try:
                if self.progress.step == 0:
                    self.evaluate()
                self._train_steps(stop_signals)
            except NonFinite as error:
                raise self._nonfinite_error(error) from error
            except ProgramError:
                if stop_signals.received:  # the signal has reached the processes that read as well
                    self._stop(stop_signals.received, has_checkpoint=False)
                raise
        return self.progress

    def _train_steps(self, stop_signals: StopSignals) -> None:
        batches = iter(self.batches)
        while not self.progress.finished and self.progress.step < self.steps:
            self.update(batches)
            self.after_step()
            signal_number = stop_signals.received_anywhere()
            if signal_number and self.progress.step < self.steps:
                self.save_checkpoint()
                self._stop(signal_number, has_checkpoint=True)
        self.progress.finished = self.progress.finished or f"all {self.steps:,} steps done"
        self.checkpoints.replace(self.folder.last, self.write)
        self.save_checkpoint()

    def _stop(self, signal_number: int, *, has_checkpoint: bool) -> None:
        where = "" if has_checkpoint else " without a checkpoint"
        self.log.say(f"stopped at step {self.progress.step:,}{where}; run the same command to go on")
        raise SystemExit(128 + signal_number)

    def after_step(self) -> None:
        """Evaluate and write a checkpoint if it is time for it."""
        step, last = self.progress.step, self.progress.step >= self.steps
        if step % self.settings.evaluation.every == 0 or last:
            self.evaluate()
        if (step % self.settings.checkpoint.every == 0 and not last) and not self.progress.finished:
            self.save_checkpoint()

    def save_checkpoint(self) -> None:
        """Write everything that the run needs to go on."""
        self.log.busy("saving")
        self.progress.data, self.progress.sums = self.batches.state_dict(), self.running_means.sums
        self.checkpoints.save(self.progress, self.settings.checkpoint.keep)

    def restore(self) -> None:
        """Go to the newest checkpoint, if there is one."""
        progress = self.checkpoints.restore()
        if progress is None:
            if self.accelerator.is_main_process:
                self.folder.remove_results()
            return
        self.check_restored(progress)
        self.progress, self.running_means.sums = progress, dict(progress.sums)
        self.batches.load_state_dict(progress.data)
        patience = self.settings.evaluation.patience
        patient = progress.finished.startswith("no better") and (patience is None or progress.without < patience)
        if (progress.finished.startswith("all ") or patient) and progress.step < self.steps:
            progress.finished = ""  # the run was lengthened
        if not progress.finished:
            self.log.say(f"going on from step {progress.step:,} of {self.steps:,}")

    def check_restored(self, progress: Progress) -> None:  # noqa: B027  # a hook that need not do anything
        """Refuse a checkpoint that does not fit the loaded parts, and take the subclass's own values from it."""

    def keep_if_best(self, name: str, value: float, *, lower: bool) -> None:
        """Keep the weights if they are the best so far, and end the run if patience is over.

        Args:
            name: The name of the figure that selects.
            value: Its value now.
            lower: Whether a lower value is better.
        """
        best, sign = self.progress.best, -1 if lower else 1
        if value == value and (best is None or sign * value > sign * best):
            self.progress.best, self.progress.best_step, self.progress.without = value, self.progress.step, 0
            self.checkpoints.replace(self.folder.best, self.write)
            return
        self.progress.without += 1
        patience = self.settings.evaluation.patience
        if patience is not None and self.progress.without >= patience:
            best_step = self.progress.best_step
            self.progress.finished = f"no better {name} in {patience} evaluations since step {best_step:,}"

    def clip_gradient(self) -> Tensor:
        """Clip the gradient if that is asked for; return its norm before."""
        limit = self.settings.training.clip
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), float("inf") if limit is None else limit)
        return torch.as_tensor(0.0 if norm is None else norm, dtype=torch.float32)

    def finite_values(
        self, stats: dict[str, Tensor], norm: Tensor, rows: Callable[[], list[dict[str, Any]]]
    ) -> dict[str, float]:
        """Return the statistics of a step as numbers, with one synchronisation of the device.

        Args:
            stats: Scalars by name, ``loss`` among them.
            norm: The norm of the gradient.
            rows: A function that returns what to keep of the step if a number is not finite.

        Raises:
            NonFinite: The loss or the gradient is not finite.
        """
        numbers = torch.stack([*stats.values(), norm.to(stats["loss"].device)]).tolist()
        values = dict(zip([*stats, "grad_norm"], numbers, strict=True))
        if not isfinite(values["loss"]):
            raise NonFinite("loss", rows())
        if not isfinite(values["grad_norm"]) and self.accelerator.scaler is None:  # fp16's scaler expects such
            raise NonFinite("gradient", rows())
        return values

    def count_broken(self, sentences: list[str]) -> None:
        """Log samples that cannot be read, each once, and give up after too many of them."""
        reported = self.progress.broken
        for sentence in sentences:
            if sentence not in reported:
                self.log.say(f"skipped: {sentence}", everywhere=True)
                reported.append(sentence)
        limit = self.settings.data.broken_limit
        if len(reported) > limit:
            raise InputError(
                f"{counted(len(reported), 'sample')} cannot be read, more than data.broken_limit={limit}; "
                f"{self.folder.log} names them"
            )

    def _nonfinite_error(self, error: NonFinite) -> ProgramError:
        step = self.progress.step + 1
        path = self.folder.path / f"nonfinite-step-{step:08d}-{self.accelerator.process_index}.json"
        text = json.dumps(error.rows, indent=1, ensure_ascii=False)
        write_text_beside(path, text)
        hint = {"reward": "mend the reward"}.get(error.what, "try a lower --lr, or --precision fp32")
        return ProgramError(f"a {error.what} at step {step:,} is not finite; its batch is kept in {path}: {hint}")
