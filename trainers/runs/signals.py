"""Requests to stop: the present step is finished, a checkpoint is written, and the run can be resumed."""

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
    """A handler that notes SIGTERM and the first Ctrl-C while it is entered; a second Ctrl-C stops at once.

    Signals reach only the main thread; in another thread the handler notes nothing.

    Args:
        accelerator: The accelerator of the processes that stop together.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.received = 0  # the signal's number
        self._earlier_handlers: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            self._earlier_handlers = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier_handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, _: object) -> None:
        if number == signal.SIGINT and self.received:
            raise KeyboardInterrupt
        self.received = number

    def received_anywhere(self) -> int:
        """Return the signal that any of the processes has received, or 0."""
        if self.accelerator.num_processes == 1:
            return self.received
        received = torch.tensor(float(self.received), device=self.accelerator.device)
        return int(self.accelerator.gather(received.view(1)).max())
