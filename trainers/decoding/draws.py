"""Tokens drawn from a distribution by uniform numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainers.decoding.best import BLOCK, likeliest, row_chunks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from trainers.decoding.settings import Decoding

NUCLEUS = 512  # tokens among which the nucleus is looked for before all are sorted


def draw(logits: Tensor, uniforms: Tensor, settings: Decoding, forbidden: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
    """Draw tokens of each row, by inverting its distribution function.

    The order is that of transformers: temperature, then ``top_k``, then ``top_p`` of what is left.

    Args:
        logits: [N, V]; left as they are.
        uniforms: float64 [N, M] in [0, 1), one for each draw.
        settings: ``temperature``, ``top_k`` and ``top_p``.
        forbidden: token ids that are never drawn.

    Returns:
        Log-probabilities float32 [N, M], the model's own, and tokens int64 [N, M].
    """
    found = [_draw(logits[rows].float(), uniforms[rows], settings, forbidden) for rows in row_chunks(logits)]
    values, tokens = (torch.cat(parts) for parts in zip(*found, strict=True))
    return values, tokens


def _draw(logits: Tensor, uniforms: Tensor, settings: Decoding, forbidden: Sequence[int]) -> tuple[Tensor, Tensor]:
    few = logits.shape[1] - len(forbidden)
    if 0 < settings.top_k < few:
        values, tokens = likeliest(logits, settings.top_k, forbidden)
    elif settings.top_p < 1:
        values, tokens = _nucleus(logits, settings, forbidden, few)
    else:
        return _draw_from_all(logits, uniforms, settings.temperature, forbidden)
    weights = torch.softmax(values / settings.temperature, dim=-1)
    if settings.top_p < 1:
        before = weights.cumsum(-1) - weights
        weights = weights.masked_fill(before >= settings.top_p, 0)
        weights[:, 0] = weights[:, 0].clamp(min=torch.finfo(weights.dtype).tiny)
    place = invert(weights, uniforms)
    return values.gather(1, place), tokens.gather(1, place)


def _nucleus(logits: Tensor, settings: Decoding, forbidden: Sequence[int], few: int) -> tuple[Tensor, Tensor]:
    """Tokens that hold the nucleus of every row: some of them where that is seen without waiting, else all, sorted."""
    if logits.device.type == "cpu" and few > 2 * NUCLEUS:
        values, tokens = likeliest(logits, NUCLEUS, forbidden)
        heated = logits / settings.temperature
        heated[:, list(forbidden)] = -torch.inf
        own = logits.logsumexp(-1, keepdim=True)
        shares = ((values + own) / settings.temperature - heated.logsumexp(-1, keepdim=True)).exp().sum(-1)
        if bool((shares > settings.top_p + 1e-4).all()):
            return values, tokens
    return likeliest(logits, few, forbidden)


def _draw_from_all(
    logits: Tensor, uniforms: Tensor, temperature: float, forbidden: Sequence[int]
) -> tuple[Tensor, Tensor]:
    top = logits.amax(-1, keepdim=True)
    weights = (logits - top).exp_()
    total = weights.sum(-1, keepdim=True).log_() + top
    if temperature != 1:
        weights = ((logits - top) / temperature).exp_()
    if forbidden:
        weights[:, list(forbidden)] = 0
    tokens = invert(weights, uniforms)
    return logits.gather(1, tokens) - total, tokens


def invert(weights: Tensor, uniforms: Tensor) -> Tensor:
    """The places where distribution functions pass given values.

    Args:
        weights: [N, V], not negative; their sum need not be 1. What weighs 0 is never found.
        uniforms: float64 [N, M] in [0, 1).

    Returns:
        int64 [N, M].
    """
    if weights.shape[1] <= 4 * BLOCK:
        return _invert(weights, uniforms)[0]
    fill = -weights.shape[1] % BLOCK
    blocks = torch.nn.functional.pad(weights, (0, fill)).view(len(weights), -1, BLOCK)
    block, rest = _invert(blocks.sum(-1), uniforms)
    rows = torch.arange(len(weights), device=weights.device).unsqueeze(1).expand_as(block)
    inner = _invert(blocks[rows, block].flatten(0, 1), rest.flatten().unsqueeze(1))[0]
    return block * BLOCK + inner.view_as(block)


def _invert(weights: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Places and, in [0, 1), how far into the place's own weight the value lies."""
    sums = weights.double().cumsum(-1)
    wanted = uniforms * sums[:, -1:]
    place = torch.searchsorted(sums, wanted, right=True)
    weight = weights.gather(1, place).double()
    rest = (wanted - (sums.gather(1, place) - weight)) / weight
    return place, rest.clamp(0, 1 - 1e-12)
