"""A run's folder: what lies where, and checkpoints that are whole or not there."""

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
    """Where a run keeps everything.

    ``config.yaml``, ``metrics.jsonl``, ``run.log``, ``samples/step-00000100.jsonl``, ``checkpoints/step-00000100/``,
    and captioners in ``best/`` and ``last/``.

    Args:
        path: made when something is first written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """One JSON object per line."""
        return self.path / "metrics.jsonl"

    @property
    def log(self) -> Path:
        """Sentences with their time."""
        return self.path / "run.log"

    @property
    def best(self) -> Path:
        """The captioner with the best value of the chosen metric."""
        return self.path / "best"

    @property
    def last(self) -> Path:
        """The captioner after the last step."""
        return self.path / "last"

    def samples(self, step: int) -> Path:
        """Captions of held-out items after a step."""
        return self.path / "samples" / f"step-{step:08d}.jsonl"

    def make(self) -> None:
        """Make the folder and remove what an interrupted write left.

        Raises:
            InputError: it cannot be made.
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

    def unmake(self) -> None:
        """Remove the folder again where no run has begun in it."""
        if not self.config.exists():
            for counted in (*self.path.glob("document-frequencies-*.npz"), *self.path.glob("training-phrases-*.npz")):
                counted.unlink()
        for path in (self.path / "checkpoints", self.path / "samples", self.path):
            with contextlib.suppress(OSError):  # it holds something
                path.rmdir()

    def forget(self) -> None:
        """Remove what a run that ended before its first checkpoint has left: it starts again."""
        shutil.rmtree(self.best, ignore_errors=True)
        for old in self.path.glob("samples/step-*.jsonl"):
            old.unlink(missing_ok=True)

    def checkpoints(self) -> list[Path]:
        """Whole checkpoints, the oldest first."""
        found = self.path.glob("checkpoints/step-*")
        return sorted(p for p in found if _CHECKPOINT.fullmatch(p.name) and (p / PROGRESS).is_file())

    def write_checkpoint(self, step: int, fill: Callable[[Path], None], keep: int) -> Path:
        """Fill a folder beside and rename it; then drop all but the newest ``keep``.

        Raises:
            InputError: it cannot be written; the earlier ones stay.
        """
        target = self.path / "checkpoints" / f"step-{step:08d}"
        replace_folder(target, fill)
        for old in self.checkpoints()[:-keep]:
            shutil.rmtree(old, ignore_errors=True)
        return target

    def truncate_metrics(self, step: int) -> None:
        """Drop rows of steps after ``step``, which are run again, and a line that was cut off."""
        if not self.metrics.exists():
            return
        kept = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if row["step"] <= step:
                kept.append(line + "\n")
        write_text_beside(self.metrics, "".join(kept))

    def rows(self) -> list[dict[str, Any]]:
        """The rows of ``metrics.jsonl``.

        Raises:
            InputError: no run in this folder.
        """
        try:
            lines = self.metrics.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise InputError(f"{self.path} is no run: it has no metrics.jsonl") from error
        return [json.loads(line) for line in lines if line.endswith("}")]


def replace_folder(target: Path, fill: Callable[[Path], None]) -> None:
    """Fill a new folder beside ``target`` and put it in its place in one step; an old one is replaced.

    Raises:
        InputError: the operating system refuses; the old one stays.
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
            gone = target.parent / f".partial-old-{target.name}"
            shutil.rmtree(gone, ignore_errors=True)
            os.replace(target, gone)
            os.replace(beside, target)
            shutil.rmtree(gone, ignore_errors=True)
        else:
            os.replace(beside, target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}; nothing before it is lost") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _flush(file: Path) -> None:
    """Let the bytes reach the disk before the rename does."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
