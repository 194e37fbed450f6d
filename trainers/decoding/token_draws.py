"""Tokens drawn from a distribution by means of uniform numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainers.decoding.constraints import Edits, apply_edits
from trainers.decoding.likeliest_tokens import BLOCK, WIDE, chunks, in_blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from trainers.decoding.settings import Decoding

NUCLEUS = 512  # tokens among which the nucleus is looked for before all are sorted


def draw(
    logits: Tensor,
    uniforms: Tensor,
    settings: Decoding,
    forbidden: Sequence[int] = (),
    edits: Edits | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw tokens of each row by inverting its distribution function.

    The order is that of transformers: temperature, then ``top_k``, then ``top_p`` of the remaining tokens.

    Args:
        logits: Logits [N, V], in any precision; they are not changed.
        uniforms: Uniform numbers float64 [N, M] in [0, 1), one for each draw.
        settings: The settings ``temperature``, ``top_k`` and ``top_p``.
        forbidden: The ids of tokens that are never drawn.
        edits: Tokens and amounts [N, M] that are added to logits before all else.

    Returns:
        Log-probabilities of the model itself, float32 [N, M], and tokens int64 [N, M].
    """
    values, tokens = [], []
    for rows in chunks(len(logits), logits.shape[1], logits.device):
        table = own_table = logits[rows].float()
        if edits is not None:
            table = apply_edits(table, edits, rows)
        weights = torch.softmax(table / settings.temperature if settings.temperature != 1 else table, -1)
        for token in forbidden:
            weights[:, token] = 0
        drawn = _draw(weights, uniforms[rows], settings, weights.shape[1] - len(forbidden))
        own = weights if settings.temperature == 1 and edits is None else torch.softmax(own_table, -1)
        values.append(own.gather(1, drawn).log_())
        tokens.append(drawn)
    return torch.cat(values), torch.cat(tokens)


def _draw(weights: Tensor, uniforms: Tensor, settings: Decoding, allowed: int) -> Tensor:
    if 0 < settings.top_k < allowed:
        best, tokens = weights.topk(settings.top_k, dim=1)
    elif settings.top_p < 1:
        best, tokens = _with_nucleus(weights, settings.top_p, allowed)
    else:
        return invert(weights, uniforms)
    if settings.top_p < 1:
        if settings.top_k:
            best = best / best.sum(1, keepdim=True)
        outside = best.double().cumsum(1) - best >= settings.top_p  # the first is inside, whatever it weighs
        best = best.masked_fill(outside, 0)
    return tokens.gather(1, invert(best, uniforms))


def _with_nucleus(weights: Tensor, top_p: float, allowed: int) -> tuple[Tensor, Tensor]:
    """Return the likeliest tokens, enough to hold every row's nucleus; all of them, sorted, if that is not known."""
    weights = weights / weights.sum(1, keepdim=True)
    if weights.device.type == "cpu" and allowed > 2 * NUCLEUS:
        best, tokens = weights.topk(NUCLEUS, dim=1)
        if bool((best.sum(1) > top_p + 1e-4).all()):
            return best, tokens
    return weights.sort(dim=1, descending=True, stable=True)


def invert(weights: Tensor, uniforms: Tensor) -> Tensor:
    """Return the places where distribution functions pass given values.

    Args:
        weights: Weights [N, V], not negative; their sum need not be 1. A place of weight 0 is never returned.
        uniforms: Uniform numbers float64 [N, M] in [0, 1).

    Returns:
        The places, int64 [N, M].
    """
    if weights.shape[1] < WIDE:
        return _invert(weights, uniforms)[0]
    blocks, tail = in_blocks(weights)
    sums = blocks.sum(2)
    if tail.shape[1]:
        sums = torch.cat([sums, tail.sum(1, keepdim=True)], 1)
    block, rest = _invert(sums, uniforms)
    draws, width = uniforms.shape[1], weights.shape[1]
    places = block.unsqueeze(2) * BLOCK + torch.arange(BLOCK, device=weights.device)
    inner = weights.gather(1, places.clamp(max=width - 1).flatten(1)).view(places.shape)
    inner = inner.masked_fill(places >= width, 0).flatten(0, 1)
    return block * BLOCK + _invert(inner, rest.view(-1, 1))[0].view(-1, draws)


def _invert(weights: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Return the places, and how far into the place's own weight the value lies, in [0, 1)."""
    sums = weights.double().cumsum(1)
    wanted = uniforms * sums[:, -1:]  # below the sum, for uniforms are below 1 by at least 2 ** -53
    place = torch.searchsorted(sums, wanted, right=True)
    weight = weights.gather(1, place).double()
    rest = (wanted - (sums.gather(1, place) - weight)) / weight
    return place, rest.clamp(0, 1 - 1e-12)
