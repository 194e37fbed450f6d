"""The log of a run: always metrics.jsonl and run.log, trackers if asked for, and a live line for people."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError
from trainers.runs.folder import RunFolder

if TYPE_CHECKING:
    from accelerate import Accelerator
    from rich.console import Console
    from rich.progress import Progress

SHOWN = ("loss", "clip_loss", "accuracy", "reward", "judge", "kl", "length", "repetition", "tokens/s")
PERCENT = ("unfinished", "empty", "repetition", "novel", "novel_phrases")


class RunLog(AbstractContextManager["RunLog"]):
    """The log of the main process; on other processes it does nothing.

    Args:
        folder: The folder of the run.
        accelerator: The accelerator, which has the trackers.
        console: The console on standard error, for people; or None.
        steps: The number of steps of the whole run.
    """

    def __init__(self, folder: RunFolder, accelerator: Accelerator, console: Console | None, steps: int) -> None:
        self.folder = folder
        self.accelerator = accelerator
        self.main = accelerator.is_main_process
        self.console = console if self.main else None
        self.steps = steps
        self._live: Progress | None = None
        self._task: Any = None
        self._shown: dict[str, float] = {}

    def __enter__(self) -> RunLog:
        if self.console is not None and self.console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._live = Progress(*columns, TextColumn("{task.fields[values]}"), console=self.console, transient=True)
            self._task = self._live.add_task("training", total=self.steps, values="")
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, sentence: str, *, everywhere: bool = False) -> None:
        """Log a sentence for people and for ``run.log``.

        Args:
            sentence: The sentence.
            everywhere: Whether every process writes its own sentence.

        Raises:
            InputError: The log cannot be written.
        """
        if not self.main and not everywhere:
            return
        if self.console is not None:
            self.console.print(sentence, highlight=False, markup=False, soft_wrap=True)
        append(self.folder.log, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {sentence}\n")

    def row(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Log a row of numbers after a step, of kind ``train`` or ``eval``.

        Raises:
            InputError: ``metrics.jsonl`` cannot be written.
        """
        if not self.main:
            return
        finite = {name: _plain(value) for name, value in values.items()}
        append(self.folder.metrics, json.dumps({"step": step, "kind": kind, **finite}) + "\n")
        self.accelerator.log({f"{kind}/{name}": v for name, v in finite.items() if v is not None}, step=step)
        if kind == "eval":
            self.say(f"step {step:,}: {format_values(values)}")
        elif self._live is None and self.console is not None:
            text = format_values({name: values[name] for name in SHOWN if name in values})
            self.console.print(f"step {step:,}/{self.steps:,}  {text}", highlight=False, markup=False, soft_wrap=True)

    def warn(self, step: int, name: str, sentence: str) -> None:
        """Log a warning for people and in ``metrics.jsonl``.

        Raises:
            InputError: The log cannot be written.
        """
        self.say(f"warning ({name}): {sentence}")
        if self.main:
            append(
                self.folder.metrics,
                json.dumps({"step": step, "kind": "warning", "name": name, "told": sentence}) + "\n",
            )

    def at(self, step: int, values: Mapping[str, float]) -> None:
        """Move the live line to a step; old values that are not in ``values`` stay."""
        if self._live is not None:
            self._shown |= {name: values[name] for name in SHOWN if name in values}
            self._live.update(self._task, completed=step, values=format_values(self._shown), description="training")

    def busy(self, doing: str) -> None:
        """Show on the live line what takes a while."""
        if self._live is not None:
            self._live.update(self._task, description=doing)


def format_values(values: Mapping[str, float]) -> str:
    """Format names and values for people: shares of captions in percent, most others with four decimals."""
    return "  ".join(_format_value(name, value) for name, value in values.items())


def _format_value(name: str, value: float) -> str:
    if name in PERCENT:
        return f"{name} {value:.0%}"
    if name == "tokens/s":
        return f"{value:,.0f} tokens/s"
    return f"{name} {value:.1f}" if name == "length" else f"{name} {value:.4f}"


def append(path: Path, text: str) -> None:
    """Append to a file of the run.

    Raises:
        InputError: The operating system refuses, for example because the disk is full.
    """
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def _plain(value: float) -> float | None:
    """Return the number, or None if it is not finite, because JSON has no NaN."""
    number = float(value)
    return number if isfinite(number) else None
