"""Checkpoints that are complete or not there, and captioners that replace the one before in a single step."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from capreward.errors import InputError
from trainers.runs.folder import PROGRESS, RunFolder, replace_folder
from trainers.runs.running_means import Sums

if TYPE_CHECKING:
    from accelerate import Accelerator

    from trainers.captioners.base import Captioner

# The errors that json, torch, safetensors and accelerate raise for a file that is damaged or missing.
UNREADABLE = (
    OSError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError, RuntimeError, SafetensorError,
    pickle.UnpicklingError,
)  # fmt: skip


@dataclass
class Progress:
    """The progress of a run: the part of a checkpoint that is neither weights nor moments of the optimizer.

    Attributes:
        step: The number of updates done.
        data: The position in the training data.
        best: The best value of the metric that selects, or None.
        best_step: The step of the best value.
        without: The number of evaluations since then.
        broken: A sentence for each sample that could not be read.
        moments: The moments of the rewards.
        sums: The sums for the log's next row, see :class:`trainers.runs.running_means.RunningMeans`.
        start: The ``fingerprint`` of the weights before the first step.
        finished: The reason why the run is over; empty if it is not.
        warned: The names of the rules that have warned.
    """

    step: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    best: float | None = None
    best_step: int = 0
    without: int = 0
    broken: list[str] = field(default_factory=list)
    moments: dict[str, float] = field(default_factory=dict)
    sums: Sums = field(default_factory=dict)
    start: str = ""
    finished: str = ""
    warned: list[str] = field(default_factory=list)


class Checkpoints:
    """A writer and reader of a run's checkpoints; every process makes the same calls.

    Args:
        folder: The folder of the run.
        accelerator: The accelerator, whose models and optimizers are stored.
    """

    def __init__(self, folder: RunFolder, accelerator: Accelerator) -> None:
        self.folder = folder
        self.accelerator = accelerator

    def save(self, progress: Progress, keep: int) -> None:
        """Write a checkpoint beside its place and rename it; drop all but the newest ``keep``.

        Raises:
            InputError: The checkpoint cannot be written; the earlier ones stay.
        """

        def fill(path: Path) -> None:
            with as_os_error():
                self.accelerator.save_state(str(path))
            (path / PROGRESS).write_text(json.dumps(asdict(progress), indent=1), encoding="utf-8")

        if self.accelerator.num_processes == 1:
            self.folder.write_checkpoint(progress.step, fill, keep)
        else:
            self._save_together(progress.step, fill, keep)

    def _save_together(self, step: int, fill: Callable[[Path], None], keep: int) -> None:
        """Let every process write its part; the main process renames the folder when all are done."""
        together = self.folder.path / "checkpoints" / f".partial-together-{step:08d}"
        if self.accelerator.is_main_process:
            together.mkdir(parents=True, exist_ok=True)
        self.accelerator.wait_for_everyone()
        fill(together)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:

            def move(path: Path) -> None:
                for part in together.iterdir():
                    part.replace(path / part.name)

            self.folder.write_checkpoint(step, move, keep)
            together.rmdir()
        self.accelerator.wait_for_everyone()

    def restore(self) -> Progress | None:
        """Load the newest checkpoint and drop the rows of later steps; return None if there is no checkpoint.

        Raises:
            InputError: The checkpoint cannot be read.
        """
        saved = self.folder.checkpoints()
        progress = None
        if saved:
            try:
                values: dict[str, Any] = json.loads((saved[-1] / PROGRESS).read_text(encoding="utf-8"))
                progress = Progress(**values)
                progress.sums = {name: (total, count) for name, (total, count) in progress.sums.items()}
                self.accelerator.load_state(str(saved[-1]))
            except UNREADABLE as error:
                reason = " ".join(str(error).split())[:160]
                raise InputError(
                    f"the checkpoint {saved[-1]} cannot be read ({reason}); remove it to go on from the one before"
                ) from error
        if self.accelerator.is_main_process:
            self.folder.truncate_metrics(-1 if progress is None else progress.step)
        return progress

    def replace(self, target: Path, fill: Callable[[Path], None]) -> None:
        """Let the main process write the trained weights in place of the folder before.

        Args:
            target: The folder.
            fill: A function that writes into a folder beside it.

        Raises:
            InputError: The folder cannot be written; the one before stays.
        """
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:

            def filled(path: Path) -> None:
                with as_os_error():
                    fill(path)

            replace_folder(target, filled)
        self.accelerator.wait_for_everyone()


@contextmanager
def as_os_error() -> Iterator[None]:
    """Turn errors of torch and safetensors about a full disk into an error of the operating system.

    Raises:
        OSError: The writing failed.
    """
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        raise OSError(None, " ".join(str(error).split())) from error


def fingerprint(captioner: Captioner) -> str:
    """Return 16 hex digits that change with any weight."""
    digest = hashlib.sha256()
    for name, tensor in captioner.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
