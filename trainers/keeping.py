"""Checkpoints that are whole or not there, and captioners that replace the one before in one step."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError
from trainers.run_folder import PROGRESS, RunFolder, replace_folder

if TYPE_CHECKING:
    from accelerate import Accelerator

    from trainers.captioners.base import Captioner


@dataclass
class Progress:
    """How far a run is; all of a checkpoint that is neither weights nor moments of the optimizer.

    Attributes:
        step: updates done.
        data: position in the training data.
        best: value of the chosen metric, or None.
        best_step: the step it was found at.
        without: evaluations since then.
        broken: samples that could not be read.
        moments: of the rewards.
        finished: why the run is over, or empty.
    """

    step: int = 0
    data: dict[str, Any] = field(default_factory=dict)
    best: float | None = None
    best_step: int = 0
    without: int = 0
    broken: int = 0
    moments: dict[str, float] = field(default_factory=dict)
    finished: str = ""


class Keeper:
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
            try:
                self.accelerator.save_state(str(path))
            except RuntimeError as error:  # what torch and safetensors make of a full disk
                raise OSError(None, str(error)) from error
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
                self.accelerator.load_state(str(found[-1]))
            except (OSError, ValueError, RuntimeError, TypeError) as error:
                reason = " ".join(str(error).split())[:200]
                raise InputError(
                    f"the checkpoint {found[-1]} cannot be read ({reason}); remove it to go on from the one before"
                ) from error
        if self.accelerator.is_main_process:
            self.folder.truncate_metrics(-1 if progress is None else progress.step)
        return progress

    def save_captioner(self, captioner: Captioner, target: Path) -> None:
        """Write the captioner as it is now, in the place of the one before.

        Raises:
            InputError: it cannot be written; the one before stays.
        """
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            replace_folder(target, captioner.save_pretrained)
        self.accelerator.wait_for_everyone()
