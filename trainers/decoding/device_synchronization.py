"""The steps at which the host waits for results of the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

SYNC_EVERY = 6  # steps on a GPU, where looking means waiting
WORTH = 12  # dropping has a price: it must save at least this part of a step


def sync_due(step: int, device: torch.device) -> bool:
    """Return whether to ask, after this step, which captions have ended; on a CPU this is always true."""
    return device.type == "cpu" or step % SYNC_EVERY == 0


def worth_dropping(before: int, after: int) -> bool:
    """Return whether it is worth going on with only ``after`` of ``before`` rows."""
    return before - after >= max(1, before // WORTH)


def fill_holes(unfinished: Tensor) -> Tensor:
    """Return the remaining images, bool [B], as int64 [B'], so that most keep their number: ``found[i] == i``."""
    images = unfinished.nonzero().squeeze(1)
    inside = unfinished[: len(images)]
    order = torch.arange(len(images), device=unfinished.device)
    order[~inside] = images[images >= len(images)]
    return order
