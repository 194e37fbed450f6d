"""The computation of advantages from rewards, as pure functions of [B, K] tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor


def against_baseline(rewards: Tensor, baseline: Tensor) -> Tensor:
    """Subtract from each reward the reward of its image's baseline (Rennie et al. 2017, equation 8).

    Args:
        rewards: The rewards [B, K].
        baseline: The rewards of the baselines [B, 1].
    """
    return rewards - baseline


def leave_one_out(rewards: Tensor) -> Tensor:
    """Subtract from each reward the mean of its image's other rewards.

    See Luo 2020, "A better variant of self-critical training".

    Args:
        rewards: The rewards [B, K], where K is at least 2.

    Raises:
        InputError: There is a single candidate, which has no others.
    """
    count = rewards.shape[-1]
    if count < 2:
        raise InputError("the mean of the others needs at least 2 candidates per image; found 1")
    return (rewards - rewards.mean(dim=-1, keepdim=True)) * (count / (count - 1))


def spread_normalised(rewards: Tensor, least: float = 1e-6) -> Tensor:
    """Divide each reward by the standard deviation of its image's rewards; equal rewards become 0.

    Args:
        rewards: The rewards [B, K].
        least: The least standard deviation to divide by.

    Returns:
        Rewards [B, K] with mean 0 and standard deviation 1 (or 0) for each image.
    """
    centred = rewards - rewards.mean(dim=-1, keepdim=True)
    spread = centred.square().mean(dim=-1, keepdim=True).sqrt()
    return centred / spread.clamp(min=least)
