"""When the host looks at what the device has done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

SYNC_EVERY = 6  # steps on a GPU, where looking means waiting
WORTH = 12  # dropping has a price: it must save at least this part of a step


def worth_looking(step: int, device: torch.device) -> bool:
    """Whether to ask, after this step, which captions have ended: always on a CPU."""
    return device.type == "cpu" or step % SYNC_EVERY == 0


def worth_dropping(before: int, after: int) -> bool:
    """Whether it is worth going on with ``after`` of ``before`` rows alone."""
    return before - after >= max(1, before // WORTH)


def fill_holes(left: Tensor) -> Tensor:
    """The images that are left, bool [B], as int64 [B'], ordered so that most keep their number: ``found[i] == i``."""
    images = left.nonzero().squeeze(1)
    inside = left[: len(images)]
    found = torch.arange(len(images), device=left.device)
    found[~inside] = images[images >= len(images)]
    return found
