"""Checkpoints that are whole or not there, and captioners that replace the one before in one step."""

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

# What json, torch, safetensors and accelerate raise for a file that is damaged or missing.
UNREADABLE = (
    OSError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError, RuntimeError, SafetensorError,
    pickle.UnpicklingError,
)  # fmt: skip


@dataclass
class Progress:
    """How far a run is; all of a checkpoint that is neither weights nor moments of the optimizer.

    Attributes:
        step: updates done.
        data: position in the training data.
        best: value of the chosen metric, or None.
        best_step: the step it was found at.
        without: evaluations since then.
        broken: a sentence for each sample that could not be read.
        moments: of the rewards.
        sums: of the log's next row, see :class:`trainers.runs.running_means.RunningMeans`.
        start: what the weights were before the first step, see ``fingerprint``.
        finished: why the run is over, or empty.
        warned: the warnings that were told, by name.
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
    """Writes and reads a run's checkpoints; every process calls it alike.

    Args:
        folder: of the run.
        accelerator: whose models and optimizers are kept.
    """

    def __init__(self, folder: RunFolder, accelerator: Accelerator) -> None:
        self.folder = folder
        self.accelerator = accelerator

    def save(self, progress: Progress, keep: int) -> None:
        """Write a checkpoint beside and rename it; drop all but the newest ``keep``.

        Raises:
            InputError: it cannot be written; the earlier ones stay.
        """

        def fill(path: Path) -> None:
            with told_as_os_error():
                self.accelerator.save_state(str(path))
            (path / PROGRESS).write_text(json.dumps(asdict(progress), indent=1), encoding="utf-8")

        if self.accelerator.num_processes == 1:
            self.folder.write_checkpoint(progress.step, fill, keep)
        else:
            self._save_together(progress.step, fill, keep)

    def _save_together(self, step: int, fill: Callable[[Path], None], keep: int) -> None:
        """Every process writes its part; the main one renames the folder when all are done."""
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
        """Load the newest checkpoint and forget the rows of later steps; None where there is none.

        Raises:
            InputError: a checkpoint that cannot be read.
        """
        found = self.folder.checkpoints()
        progress = None
        if found:
            try:
                told: dict[str, Any] = json.loads((found[-1] / PROGRESS).read_text(encoding="utf-8"))
                progress = Progress(**told)
                progress.sums = {name: (total, count) for name, (total, count) in progress.sums.items()}
                self.accelerator.load_state(str(found[-1]))
            except UNREADABLE as error:
                reason = " ".join(str(error).split())[:160]
                raise InputError(
                    f"the checkpoint {found[-1]} cannot be read ({reason}); remove it to go on from the one before"
                ) from error
        if self.accelerator.is_main_process:
            self.folder.truncate_metrics(-1 if progress is None else progress.step)
        return progress

    def put(self, target: Path, fill: Callable[[Path], None]) -> None:
        """Let the main process write what was learnt, in the place of the folder before.

        Args:
            target: the folder.
            fill: writes into one beside it.

        Raises:
            InputError: it cannot be written; the one before stays.
        """
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:

            def filled(path: Path) -> None:
                with told_as_os_error():
                    fill(path)

            replace_folder(target, filled)
        self.accelerator.wait_for_everyone()


@contextmanager
def told_as_os_error() -> Iterator[None]:
    """Turn what torch and safetensors make of a full disk into what the operating system said.

    Raises:
        OSError: the writing failed.
    """
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        raise OSError(None, " ".join(str(error).split())) from error


def fingerprint(captioner: Captioner) -> str:
    """16 hex digits that change with any weight."""
    digest = hashlib.sha256()
    for name, tensor in captioner.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]
