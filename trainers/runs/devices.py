"""Where and how a captioner runs."""

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
    """Where and how captioners run.

    Attributes:
        device: as torch names it.
        precision: fp32, bf16, fp16 or auto, of the captioners; metrics are fp32.
        batch_size: images decoded at a time.
        workers: processes that decode pictures; None for as many as help.
        download: fetch named weights that are not here.
        skip_broken: leave out items that cannot be read.
    """

    device: str = "cpu"
    precision: str = "fp32"
    batch_size: int = 64
    workers: int | None = None
    download: bool = False
    skip_broken: bool = False


def autocast(device: str, precision: str) -> contextlib.AbstractContextManager[Any]:
    """The context in which a captioner runs at a precision.

    Raises:
        InputError: a precision that the device does not have.
    """
    import torch

    from capreward.encoders.pool import precision_of

    named = precision_of(precision, device)
    if named == "fp32":
        return contextlib.nullcontext()
    if named == "fp16" and not device.startswith("cuda"):
        raise InputError("fp16 needs a GPU; give --precision bf16 or fp32")
    return torch.autocast(device.partition(":")[0], torch.bfloat16 if named == "bf16" else torch.float16)


def workers_for(asked: int | None, items: int, *, drawn: bool) -> int:
    """How many processes decode pictures: as asked for, else one per core where there are enough pictures.

    Args:
        asked: by the user.
        items: pictures.
        drawn: they are drawn or their features stored, which takes no time.
    """
    if asked is not None:
        return asked
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if drawn or items < FEW or cores == 1 else min(cores, MOST_WORKERS)
