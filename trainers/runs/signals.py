"""Requests to stop: the step at work is finished, a checkpoint is written, and the run can be taken up again."""

from __future__ import annotations

import signal
import threading
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from accelerate import Accelerator

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals(AbstractContextManager["StopSignals"]):
    """Notes SIGTERM and the first Ctrl-C while it is entered; a second Ctrl-C stops at once.

    Signals reach the main thread alone; entered in another one it notes nothing.

    Args:
        accelerator: of the processes that stop together.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.asked = 0  # the signal's number
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        if number == signal.SIGINT and self.asked:
            raise KeyboardInterrupt
        self.asked = number

    def everywhere(self) -> int:
        """The signal that any of the processes got, or 0."""
        if self.accelerator.num_processes == 1:
            return self.asked
        asked = torch.tensor(float(self.asked), device=self.accelerator.device)
        return int(self.accelerator.gather(asked.view(1)).max())
