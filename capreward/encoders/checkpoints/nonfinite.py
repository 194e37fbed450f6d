"""Weights that are no numbers: found at load, before anything is computed with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def refuse_unfinite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Refuse weights of which a value is NaN or infinite.

    A value that is no number reaches every feature, and a caption whose score is none looks like one that no metric
    applies to. The least and the greatest value of each tensor tell it.

    Args:
        tensors: those that a model is filled with, by name; whole numbers are passed over.
        where: names the file in messages.

    Raises:
        InputError: the first tensor, how many of its values, and what to do.
    """
    found = {name: count for name, tensor in tensors.items() if (count := _unfinite(tensor))}
    if not found:
        return
    name, count = next(iter(found.items()))
    others = f" and {len(found) - 1:,} more of its {len(tensors):,} tensors" if len(found) > 1 else ""
    values = f"{count:,} of {tensors[name].numel():,} values"
    raise InputError(
        f"{where}: {name} holds NaN or infinity in {values}{others}, so nothing can be computed with these weights; "
        "copy or download the file again, or take a checkpoint from before its training went wrong"
    )


def _unfinite(tensor: Tensor) -> int:
    """How many values of a tensor are NaN or infinite."""
    import torch

    values = torch.view_as_real(tensor) if tensor.is_complex() else tensor.detach()
    if not values.is_floating_point() or not values.numel():
        return 0
    # Both ends are NaN where any value is; of half precision they are found ten times as fast as a sum.
    low, high = torch.aminmax(values)
    if math.isfinite(low) and math.isfinite(high):
        return 0
    return int((~torch.isfinite(tensor)).sum())
