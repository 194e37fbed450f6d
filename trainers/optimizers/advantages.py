"""From rewards to advantages: pure functions of [B, K] tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def against_baseline(rewards: Tensor, baseline: Tensor) -> Tensor:
    """Each reward less that of its image's baseline (Rennie et al. 2017, equation 8).

    Args:
        rewards: [B, K].
        baseline: [B, 1].
    """
    return rewards - baseline


def leave_one_out(rewards: Tensor) -> Tensor:
    """Each reward less the mean of its image's others (Luo 2020, "A better variant of self-critical training").

    Args:
        rewards: [B, K], K at least 2.

    Raises:
        InputError: a single candidate, which has no others.
    """
    count = rewards.shape[-1]
    if count < 2:
        raise InputError("the mean of the others needs at least 2 candidates per image; found 1")
    return (rewards - rewards.mean(dim=-1, keepdim=True)) * (count / (count - 1))


def spread_normalised(rewards: Tensor, least: float = 1e-6) -> Tensor:
    """Each reward divided by the standard deviation among its image's candidates; equal rewards become 0 apart.

    Args:
        rewards: [B, K].
        least: standard deviations below it count as it.

    Returns:
        [B, K] rewards around their image's mean, of standard deviation 1 (or 0).
    """
    centred = rewards - rewards.mean(dim=-1, keepdim=True)
    spread = centred.square().mean(dim=-1, keepdim=True).sqrt()
    return centred / spread.clamp(min=least)
