"""The course of any run: steps, evaluations, checkpoints, the best weights, and taking up again where it was."""

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
        """Of everything drawn by lot."""

    @property
    def device(self) -> str:
        """``auto``, ``cpu`` or ``cuda``."""

    @property
    def data(self) -> SourcesConfig:
        """What is learned from."""

    @property
    def training(self) -> UpdatesConfig:
        """How weights move."""

    @property
    def evaluation(self) -> JudgingConfig:
        """When held-out items are looked at."""

    @property
    def checkpoint(self) -> CheckpointConfig:
        """When the run can be taken up again."""

    @property
    def logging(self) -> LoggingConfig:
        """What is told."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""


class Resumable(Protocol):
    """Endless batches that know where they are."""

    def __iter__(self) -> Iterator[Any]:
        """Go on after the last batch taken."""

    def state_dict(self) -> dict[str, Any]:
        """Where they are."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


class NonFinite(Exception):
    """A loss, gradient or reward that is no number.

    Attributes:
        what: ``loss``, ``gradient`` or ``reward``.
        rows: per image of the step what it was learned with, ready for JSON.
    """

    def __init__(self, what: str, rows: list[dict[str, Any]]) -> None:
        super().__init__(what)
        self.what = what
        self.rows = rows


class Trainer(ABC):
    """A run from its first step, or from its newest checkpoint, to its end.

    Who inherits says what a step learns (``update``), how held-out items are judged (``evaluate``, which ends in
    ``choose``) and what is written (``write``).

    Args:
        config: of the run.
        steps: of the whole run.
        folder: where it keeps everything.
        accelerator: devices, processes, precision.
        log: what it tells.

    Attributes:
        progress: how far it is.
        worked: whether ``run`` found anything to do.
        batches: of training items, set by who inherits.
        model: whose gradient is clipped, likewise.
    """

    batches: Resumable
    model: nn.Module

    def __init__(
        self, config: RunSettings, steps: int, folder: RunFolder, accelerator: Accelerator, log: RunLog
    ) -> None:
        self.settings, self.steps = config, steps
        self.folder, self.accelerator, self.log = folder, accelerator, log
        self.progress = Progress()
        self.keeper = Checkpoints(folder, accelerator)
        self.tally = RunningMeans()
        self.worked = False

    @abstractmethod
    def update(self, batches: Iterator[Any]) -> None:
        """One update of the weights, which counts in ``progress.step``.

        Raises:
            NonFinite: a loss, gradient or reward is no number; the weights are as before.
        """

    @abstractmethod
    def evaluate(self) -> None:
        """Judge the held-out items, log it, and ``choose``."""

    @abstractmethod
    def write(self, path: Path) -> None:
        """Fill a folder with what was learnt."""

    def run(self) -> Progress:
        """Train to the end, from wherever the run's folder says it is.

        Raises:
            ProgramError: a loss, gradient or reward that is no number; the batch is kept in the run's folder.
            InputError: too many broken samples, or a full disk.
            SystemExit: a signal asked to stop; a checkpoint is written.
        """
        self.restore()
        if self.progress.finished:
            return self.progress
        self.worked = True
        with StopSignals(self.accelerator) as stopping:
            try:
                if self.progress.step == 0:
                    self.evaluate()
                self._steps(stopping)
            except NonFinite as found:
                raise self._kept(found) from found
            except ProgramError:
                if stopping.asked:  # the signal has reached the processes that read as well
                    self._stop(stopping.asked, kept=False)
                raise
        return self.progress

    def _steps(self, stopping: StopSignals) -> None:
        batches = iter(self.batches)
        while not self.progress.finished and self.progress.step < self.steps:
            self.update(batches)
            self.after_step()
            asked = stopping.everywhere()
            if asked and self.progress.step < self.steps:
                self.save_checkpoint()
                self._stop(asked, kept=True)
        self.progress.finished = self.progress.finished or f"all {self.steps:,} steps done"
        self.keeper.put(self.folder.last, self.write)
        self.save_checkpoint()

    def _stop(self, asked: int, *, kept: bool) -> None:
        where = "" if kept else " without a checkpoint"
        self.log.say(f"stopped at step {self.progress.step:,}{where}; run the same command to go on")
        raise SystemExit(128 + asked)

    def after_step(self) -> None:
        """Evaluate and keep a checkpoint where it is time for it."""
        step, last = self.progress.step, self.progress.step >= self.steps
        if step % self.settings.evaluation.every == 0 or last:
            self.evaluate()
        if (step % self.settings.checkpoint.every == 0 and not last) and not self.progress.finished:
            self.save_checkpoint()

    def save_checkpoint(self) -> None:
        """Write all that the run needs to go on."""
        self.log.busy("saving")
        self.progress.data, self.progress.sums = self.batches.state_dict(), self.tally.sums
        self.keeper.save(self.progress, self.settings.checkpoint.keep)

    def restore(self) -> None:
        """Go to the newest checkpoint, if there is one."""
        found = self.keeper.restore()
        if found is None:
            if self.accelerator.is_main_process:
                self.folder.forget()
            return
        self.check_restored(found)
        self.progress, self.tally.sums = found, dict(found.sums)
        self.batches.load_state_dict(found.data)
        patience = self.settings.evaluation.patience
        patient = found.finished.startswith("no better") and (patience is None or found.without < patience)
        if (found.finished.startswith("all ") or patient) and found.step < self.steps:
            found.finished = ""  # the run was lengthened
        if not found.finished:
            self.log.say(f"going on from step {found.step:,} of {self.steps:,}")

    def check_restored(self, found: Progress) -> None:  # noqa: B027  # a hook that need not do anything
        """Refuse a checkpoint that does not go with what was loaded beside it; take from it what is one's own."""

    def choose(self, name: str, value: float, *, lower: bool) -> None:
        """Keep the weights if they are the best so far, and end the run if patience is over.

        Args:
            name: of the figure that chooses.
            value: its value now.
            lower: whether less is better.
        """
        best, sign = self.progress.best, -1 if lower else 1
        if value == value and (best is None or sign * value > sign * best):
            self.progress.best, self.progress.best_step, self.progress.without = value, self.progress.step, 0
            self.keeper.put(self.folder.best, self.write)
            return
        self.progress.without += 1
        patience = self.settings.evaluation.patience
        if patience is not None and self.progress.without >= patience:
            best_step = self.progress.best_step
            self.progress.finished = f"no better {name} in {patience} evaluations since step {best_step:,}"

    def clip(self) -> Tensor:
        """Clip the gradient where that is asked for; its norm before."""
        limit = self.settings.training.clip
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), float("inf") if limit is None else limit)
        return torch.as_tensor(0.0 if norm is None else norm, dtype=torch.float32)

    def checked(
        self, stats: dict[str, Tensor], norm: Tensor, rows: Callable[[], list[dict[str, Any]]]
    ) -> dict[str, float]:
        """The statistics of a step as numbers, in one look at the device.

        Args:
            stats: scalars by name, ``loss`` among them.
            norm: of the gradient.
            rows: what to keep of the step where a number is none.

        Raises:
            NonFinite: the loss or the gradient.
        """
        numbers = torch.stack([*stats.values(), norm.to(stats["loss"].device)]).tolist()
        values = dict(zip([*stats, "grad_norm"], numbers, strict=True))
        if not isfinite(values["loss"]):
            raise NonFinite("loss", rows())
        if not isfinite(values["grad_norm"]) and self.accelerator.scaler is None:  # fp16's scaler expects such
            raise NonFinite("gradient", rows())
        return values

    def count_broken(self, sentences: list[str]) -> None:
        """Name samples that cannot be read, each once, and give up after too many of them."""
        known = self.progress.broken
        for sentence in sentences:
            if sentence not in known:
                self.log.say(f"skipped: {sentence}", everywhere=True)
                known.append(sentence)
        limit = self.settings.data.broken_limit
        if len(known) > limit:
            raise InputError(
                f"{counted(len(known), 'sample')} cannot be read, more than data.broken_limit={limit}; "
                f"{self.folder.log} names them"
            )

    def _kept(self, found: NonFinite) -> ProgramError:
        step = self.progress.step + 1
        path = self.folder.path / f"nonfinite-step-{step:08d}-{self.accelerator.process_index}.json"
        text = json.dumps(found.rows, indent=1, ensure_ascii=False)
        write_text_beside(path, text)
        hint = {"reward": "mend the reward"}.get(found.what, "try a lower --lr, or --precision fp32")
        return ProgramError(f"a {found.what} at step {step:,} is not finite; its batch is kept in {path}: {hint}")
