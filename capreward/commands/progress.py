"""A progress bar on standard error that appears only for work of over a second."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

DELAY = 1.0  # seconds of work before the bar shows


class Bar:
    """A bar that shows the progress over several systems.

    Args:
        total: There are so many systems.
        hidden: True never shows the bar.
    """

    def __init__(self, total: int, *, hidden: bool = False) -> None:
        self.total = total
        self.hidden = hidden or not sys.stderr.isatty()
        self.done = -1
        self.name = ""
        self.began = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, name: str) -> None:
        """Go on to the next system."""
        self.done += 1
        self.name = name
        self.step("reading", 0, 1)

    def step(self, what: str, done: float, total: float) -> None:
        """Show how far the current system is."""
        if self.hidden or (self._bar is None and time.monotonic() - self.began < DELAY):
            return
        if self._bar is None:
            self._open()
        text = f"{self.name}: {what}" if self.name else what
        self._bar.update(self._task, completed=max(self.done, 0) + done / max(total, 1), description=text)

    def _open(self) -> None:
        """Show the bar for the first time."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=Console(file=sys.stderr),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=self.total)
