"""What a run tells: metrics.jsonl always, run.log, trackers where asked, and a live line for people."""

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
    """The main process's log; on the others it does nothing.

    Args:
        folder: of the run.
        accelerator: for its trackers.
        console: for people, on standard error.
        steps: of the whole run.
    """

    def __init__(self, folder: RunFolder, accelerator: Accelerator, console: Console | None, steps: int) -> None:
        self.folder = folder
        self.accelerator = accelerator
        self.main = accelerator.is_main_process
        self.console = console if self.main else None
        self.steps = steps
        self._live: Progress | None = None
        self._task: Any = None
        self._told: dict[str, float] = {}

    def __enter__(self) -> RunLog:
        if self.console is not None and self.console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._live = Progress(*columns, TextColumn("{task.fields[told]}"), console=self.console, transient=True)
            self._task = self._live.add_task("training", total=self.steps, told="")
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, sentence: str, *, everywhere: bool = False) -> None:
        """A sentence for people, and for ``run.log``.

        Args:
            sentence: what to tell.
            everywhere: write it down from every process, where each has its own to tell.

        Raises:
            InputError: the log cannot be written.
        """
        if not self.main and not everywhere:
            return
        if self.console is not None:
            self.console.print(sentence, highlight=False, markup=False, soft_wrap=True)
        append(self.folder.log, f"{time.strftime('%Y-%m-%d %H:%M:%S')} {sentence}\n")

    def row(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """A row of numbers after a step: ``train`` or ``eval``.

        Raises:
            InputError: ``metrics.jsonl`` cannot be written.
        """
        if not self.main:
            return
        kept = {name: _plain(value) for name, value in values.items()}
        append(self.folder.metrics, json.dumps({"step": step, "kind": kind, **kept}) + "\n")
        self.accelerator.log({f"{kind}/{name}": v for name, v in kept.items() if v is not None}, step=step)
        if kind == "eval":
            self.say(f"step {step:,}: {shown_values(values)}")
        elif self._live is None and self.console is not None:
            told = shown_values({name: values[name] for name in SHOWN if name in values})
            self.console.print(f"step {step:,}/{self.steps:,}  {told}", highlight=False, markup=False, soft_wrap=True)

    def warn(self, step: int, name: str, sentence: str) -> None:
        """A warning, for people and in ``metrics.jsonl``.

        Raises:
            InputError: it cannot be written.
        """
        self.say(f"warning ({name}): {sentence}")
        if self.main:
            append(
                self.folder.metrics,
                json.dumps({"step": step, "kind": "warning", "name": name, "told": sentence}) + "\n",
            )

    def at(self, step: int, values: Mapping[str, float]) -> None:
        """Move the live line; what it showed and ``values`` lacks stays."""
        if self._live is not None:
            self._told |= {name: values[name] for name in SHOWN if name in values}
            self._live.update(self._task, completed=step, told=shown_values(self._told), description="training")

    def busy(self, doing: str) -> None:
        """Let the live line tell what takes a while."""
        if self._live is not None:
            self._live.update(self._task, description=doing)


def shown_values(values: Mapping[str, float]) -> str:
    """Names and values for people: shares of captions in percent, four decimals of most others."""
    return "  ".join(_shown(name, value) for name, value in values.items())


def _shown(name: str, value: float) -> str:
    if name in PERCENT:
        return f"{name} {value:.0%}"
    if name == "tokens/s":
        return f"{value:,.0f} tokens/s"
    return f"{name} {value:.1f}" if name == "length" else f"{name} {value:.4f}"


def append(path: Path, text: str) -> None:
    """Add to a file of the run.

    Raises:
        InputError: the operating system refuses, as when the disk is full.
    """
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def _plain(value: float) -> float | None:
    """JSON has no NaN."""
    number = float(value)
    return number if isfinite(number) else None
