"""What a run tells: metrics.jsonl always, run.log, trackers where asked, and a live line for people."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from trainers.run_folder import RunFolder

if TYPE_CHECKING:
    from accelerate import Accelerator
    from rich.console import Console
    from rich.progress import Progress

SHOWN = ("loss", "reward", "kl", "length", "repetition", "tokens/s")


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

    def say(self, sentence: str) -> None:
        """A sentence for people, and for ``run.log``."""
        if not self.main:
            return
        if self.console is not None:
            self.console.print(sentence, highlight=False, markup=False, soft_wrap=True)
        with self.folder.log.open("a", encoding="utf-8") as stream:
            stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {sentence}\n")

    def row(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """A row of numbers after a step: ``train`` or ``eval``."""
        if not self.main:
            return
        kept = {name: _plain(value) for name, value in values.items()}
        with self.folder.metrics.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"step": step, "kind": kind, **kept}) + "\n")
        self.accelerator.log({f"{kind}/{name}": v for name, v in kept.items() if v is not None}, step=step)
        told = "  ".join(f"{n} {v:,.4g}" for n, v in kept.items() if v is not None and (kind == "eval" or n in SHOWN))
        if kind == "eval":
            self.say(f"step {step:,}: {told}")
        elif self._live is None and self.console is not None:
            self.console.print(f"step {step:,}/{self.steps:,}  {told}", highlight=False, markup=False, soft_wrap=True)

    def at(self, step: int, values: Mapping[str, float]) -> None:
        """Move the live line."""
        if self._live is not None:
            told = "  ".join(f"{name} {values[name]:,.4g}" for name in SHOWN if name in values)
            self._live.update(self._task, completed=step, told=told)


def _plain(value: float) -> float | None:
    """JSON has no NaN."""
    number = float(value)
    return number if number == number and abs(number) != float("inf") else None
