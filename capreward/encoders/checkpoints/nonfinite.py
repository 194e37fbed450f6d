"""The check for NaN and infinite weights, made at load, before anything is computed with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def refuse_nonfinite(tensors: Mapping[str, Tensor], where: str) -> None:
    """Refuse weights that hold a NaN or infinite value.

    Such a value reaches every feature, and a caption with a NaN score looks like one to which no metric applies. The
    check reads the least and the greatest value of each tensor.

    Args:
        tensors: The tensors that a model is filled with, by name; tensors of whole numbers are skipped.
        where: The name of the file in messages.

    Raises:
        InputError: The message names the first such tensor, how many of its values are wrong, and what to do.
    """
    found = {name: count for name, tensor in tensors.items() if (count := _count_nonfinite(tensor))}
    if not found:
        return
    name, count = next(iter(found.items()))
    others = f" and {len(found) - 1:,} more of its {len(tensors):,} tensors" if len(found) > 1 else ""
    values = f"{count:,} of {tensors[name].numel():,} values"
    raise InputError(
        f"{where}: {name} holds NaN or infinity in {values}{others}, so nothing can be computed with these weights; "
        "copy or download the file again, or take a checkpoint from before its training went wrong"
    )


def _count_nonfinite(tensor: Tensor) -> int:
    """Return how many values of a tensor are NaN or infinite."""
    import torch

    values = torch.view_as_real(tensor) if tensor.is_complex() else tensor.detach()
    if not values.is_floating_point() or not values.numel():
        return 0
    # Minimum and maximum are NaN where any value is; in half precision they are ten times as fast as a sum.
    low, high = torch.aminmax(values)
    if math.isfinite(low) and math.isfinite(high):
        return 0
    return int((~torch.isfinite(tensor)).sum())
