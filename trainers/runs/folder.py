"""The folder of a run: its files, and how they are written and replaced."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from capreward.atomic_files import write_text_beside
from capreward.errors import InputError

_CHECKPOINT = re.compile(r"step-(\d{8})")
PROGRESS = "progress.json"


class RunFolder:
    """The folder of a run.

    It holds ``config.yaml``, ``metrics.jsonl``, ``run.log``, ``samples/step-00000100.jsonl``,
    ``checkpoints/step-00000100/``, and captioners in ``best/`` and ``last/``.

    Args:
        path: The path of the folder, which is made when something is first written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def config(self) -> Path:
        """The file of the resolved configuration."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """The file of the logged rows, one JSON object per line."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """The file of the logged sentences, with their time."""
        return self.path / "run.log"

    @property
    def best(self) -> Path:
        """The folder of the captioner with the best value of the metric that selects."""
        return self.path / "best"

    @property
    def last(self) -> Path:
        """The folder of the captioner after the last step."""
        return self.path / "last"

    def samples(self, step: int) -> Path:
        """Return the file of held-out captions after a step."""
        return self.path / "samples" / f"step-{step:08d}.jsonl"

    def make(self) -> None:
        """Make the folder, and remove files of an interrupted write.

        Raises:
            InputError: The folder cannot be made.
        """
        try:
            (self.path / "checkpoints").mkdir(parents=True, exist_ok=True)
            (self.path / "samples").mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(f"cannot make the run's folder {self.path}: {error.strerror}") from error
        for old in self.path.glob("**/.partial-old-*"):
            home = old.with_name(old.name.removeprefix(".partial-old-"))
            if not home.exists():  # the process ended between taking the old folder away and putting the new one there
                os.replace(old, home)
        for left in self.path.glob("**/.partial-*"):
            shutil.rmtree(left, ignore_errors=True)

    def remove_unused(self) -> None:
        """Remove the folder again if no run has begun in it."""
        if not self.config.exists():
            for file in (*self.path.glob("document-frequencies-*.npz"), *self.path.glob("training-phrases-*.npz")):
                file.unlink()
        for path in (self.path / "checkpoints", self.path / "samples", self.path):
            with contextlib.suppress(OSError):  # it holds something
                path.rmdir()

    def remove_results(self) -> None:
        """Remove the files of a run that ended before its first checkpoint: it starts again."""
        shutil.rmtree(self.best, ignore_errors=True)
        for old in self.path.glob("samples/step-*.jsonl"):
            old.unlink(missing_ok=True)

    def checkpoints(self) -> list[Path]:
        """Return the complete checkpoints, the oldest first."""
        folders = self.path.glob("checkpoints/step-*")
        return sorted(p for p in folders if _CHECKPOINT.fullmatch(p.name) and (p / PROGRESS).is_file())

    def write_checkpoint(self, step: int, fill: Callable[[Path], None], keep: int) -> Path:
        """Fill a folder beside its place and rename it; then drop all but the newest ``keep``.

        Raises:
            InputError: The checkpoint cannot be written; the earlier ones stay.
        """
        target = self.path / "checkpoints" / f"step-{step:08d}"
        replace_folder(target, fill)
        for old in self.checkpoints()[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
        return target

    def truncate_metrics(self, step: int) -> None:
        """Drop the rows of steps after ``step``, which are run again, and a line that was cut off."""
        if not self.metrics.exists():
            return
        lines = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if row["step"] <= step:
                lines.append(line + "\n")
        write_text_beside(self.metrics, "".join(lines))

    def rows(self) -> list[dict[str, Any]]:
        """Read the rows of ``metrics.jsonl``.

        Raises:
            InputError: There is no run in this folder.
        """
        try:
            lines = self.metrics.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise InputError(f"{self.path} is no run: it has no metrics.jsonl") from error
        return [json.loads(line) for line in lines if line.endswith("}")]


def replace_folder(target: Path, fill: Callable[[Path], None]) -> None:
    """Fill a new folder beside ``target`` and put it in its place in a single step; it replaces an old one.

    Raises:
        InputError: The operating system refuses; the old folder stays.
    """
    beside = target.parent / f".partial-{target.name}"
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        fill(beside)
        for file in beside.rglob("*"):
            if file.is_file():
                _flush(file)
        if target.exists():
            replaced = target.parent / f".partial-old-{target.name}"
            shutil.rmtree(replaced, ignore_errors=True)
            os.replace(target, replaced)
            os.replace(beside, target)
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            os.replace(beside, target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}; nothing before it is lost") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _flush(file: Path) -> None:
    """Flush a file to the disk, so that its bytes are there before the rename."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
