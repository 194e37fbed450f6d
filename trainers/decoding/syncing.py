"""When the host looks at what the device has done."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SYNC_EVERY = 6  # steps on a GPU, where looking means waiting
WORTH = 8  # dropping copies what is kept: it must save at least an eighth of a step


def worth_looking(step: int, device: torch.device) -> bool:
    """Whether to ask, after this step, which captions have ended: always on a CPU."""
    return device.type == "cpu" or step % SYNC_EVERY == 0


def worth_dropping(before: int, after: int) -> bool:
    """Whether going on with ``after`` of ``before`` rows is worth a copy of their cache."""
    return before - after >= max(1, before // WORTH)
