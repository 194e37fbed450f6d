"""The entropy of a captioner at the tokens that it wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainers.captioners.vocabulary import target_mask
from trainers.decoding.likeliest_tokens import chunks

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.captioners.base import Captioner, Memory


@torch.no_grad()
def mean_entropies(captioner: Captioner, memory: Memory, tokens: Tensor) -> Tensor:
    """Compute the mean entropy of the next token over the scored tokens of each caption, without gradient.

    It is ``sum_t m_t H(p(. | image, tokens before t)) / sum_t m_t`` in nats, with the mask m of words and end token:
    the ``entropy_reward_weight`` of the code that CLIP-Caption-Reward builds on. No table of all tokens is kept.

    Args:
        captioner: The captioner, in its present mode.
        memory: The memory of B images.
        tokens: Token rows int64 [B, K, L], begin token first.

    Returns:
        The mean entropies, float32 [B, K]; 0 for a caption without a scored token.
    """
    images, count, length = tokens.shape
    mask = target_mask(captioner.vocabulary, tokens).flatten(0, 1).float()
    rows = tokens.flatten(0, 1)
    total = torch.zeros(len(rows), device=tokens.device)
    if length < 2 or not images:
        return total.view(images, count)
    cache = captioner.start(memory, length)
    for at in range(length - 1):
        logits = captioner.step(cache, tokens[:, 0, 0] if at == 0 else rows[:, at])
        entropies = _entropies(logits)
        if at == 0:
            entropies = entropies.repeat_interleave(count)
            cache.reorder(torch.arange(images, device=tokens.device).repeat_interleave(count))
        total += entropies * mask[:, at]
    return (total / mask.sum(1).clamp(min=1)).view(images, count)


def _entropies(logits: Tensor) -> Tensor:
    """Return the entropies of the distributions of logits [N, V], float32 [N]."""
    parts = []
    for part in chunks(len(logits), logits.shape[1], logits.device):
        logprobs = torch.log_softmax(logits[part], -1, dtype=torch.float32)
        parts.append(torch.special.entr(logprobs.exp()).sum(-1))
    return torch.cat(parts)
