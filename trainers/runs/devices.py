"""The device, the precision and the workers of captioners."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import Any

from capreward.errors import InputError

FEW = 32  # pictures that are decoded before worker processes would have started
MOST_WORKERS = 8


@dataclass(frozen=True)
class DeviceOptions:
    """The device, the precision and the workers of captioners.

    Attributes:
        device: The device, as torch names it.
        precision: The precision of the captioners: fp32, bf16, fp16 or auto; metrics are fp32.
        batch_size: The number of images that are decoded at a time.
        workers: The number of worker processes that decode pictures; None selects it.
        download: Whether to download named weights that are missing.
        skip_broken: Whether items that cannot be read are left out.
    """

    device: str = "cpu"
    precision: str = "fp32"
    batch_size: int = 64
    workers: int | None = None
    download: bool = False
    skip_broken: bool = False


def autocast(device: str, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Return the context in which a captioner runs at a precision.

    Raises:
        InputError: The device does not have this precision.
    """
    import torch

    from capreward.encoders.pool import precision_of

    resolved = precision_of(precision, device)
    if resolved == "fp32":
        return contextlib.nullcontext()
    if resolved == "fp16" and not device.startswith("cuda"):
        raise InputError("fp16 needs a GPU; give --precision bf16 or fp32")
    return torch.autocast(device.partition(":")[0], torch.bfloat16 if resolved == "bf16" else torch.float16)


def workers_for(requested: int | None, items: int, *, drawn: bool) -> int:
    """Return the number of processes that decode pictures: as asked for, else one per core for enough pictures.

    Args:
        requested: The number that the user asks for; None for none.
        items: The number of pictures.
        drawn: Whether the pictures are drawn or have stored features, which takes no time.
    """
    if requested is not None:
        return requested
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if drawn or items < FEW or cores == 1 else min(cores, MOST_WORKERS)
