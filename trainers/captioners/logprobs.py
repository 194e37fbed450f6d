"""The log-probabilities of given tokens, computed without a table of all log-probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 1 << 24  # logits at a time: 64 MB
MOST_KEPT_LOGITS = 1 << 26  # logits that are kept for the way back rather than computed again: 256 MB


def token_logprobs(
    hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None = None, *, smoothing: float = 0.0
) -> Tensor:
    """Compute ``log_softmax(hidden @ weight.T + bias)[target]`` in float32, with gradients for all three.

    Logits exist only for one chunk of rows at a time. With smoothing s the result is ``(1 - s) * log p[target] + s *
    mean_V log p``, the negative of label-smoothed cross-entropy (Szegedy et al. 2016, section 7).

    Args:
        hidden: The hidden states [M, d].
        weight: The output weight [V, d].
        targets: The target tokens int64 [M].
        bias: The output bias [V], or None.
        smoothing: The share of the uniform distribution, in [0, 1).

    Returns:
        The log-probabilities, float32 [M].
    """
    logprobs: Tensor = _TokenLogprobs.apply(hidden, weight, targets, bias, smoothing)
    return logprobs


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None, smoothing: float
    ) -> Tensor:
        wanted = any(ctx.needs_input_grad)
        keep = wanted and len(hidden) * len(weight) <= MOST_KEPT_LOGITS
        logprobs = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        normaliser = torch.empty_like(logprobs)
        kept_logits = []
        for rows in _chunks(len(hidden), len(weight)):
            logits = _logits(hidden[rows], weight, bias)
            normaliser[rows] = torch.logsumexp(logits, dim=-1)
            selected = logits.gather(1, targets[rows].unsqueeze(1)).squeeze(1)
            if smoothing:
                selected = (1 - smoothing) * selected + smoothing * logits.mean(dim=-1)
            logprobs[rows] = selected - normaliser[rows]
            if keep:
                kept_logits.append(logits)
        if wanted:
            ctx.save_for_backward(hidden, weight, targets, bias, normaliser, *kept_logits)
        ctx.smoothing = smoothing
        return logprobs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, targets, bias, normaliser, *kept_logits = ctx.saved_tensors
        wants_hidden, wants_weight, _, wants_bias, _ = ctx.needs_input_grad
        to_hidden = torch.empty_like(hidden) if wants_hidden else None
        to_weight = torch.zeros(weight.shape, dtype=torch.float32, device=weight.device) if wants_weight else None
        to_bias = torch.zeros(len(weight), dtype=torch.float32, device=weight.device) if wants_bias else None
        for number, rows in enumerate(_chunks(len(hidden), len(weight))):
            # d logp / d logits = onehot - softmax; the logits are overwritten, they are not needed again.
            table = kept_logits[number] if kept_logits else _logits(hidden[rows], weight, bias)
            own = grad[rows].unsqueeze(1)
            table = table.sub_(normaliser[rows].unsqueeze(1)).exp_().neg_().mul_(own)
            table.scatter_add_(1, targets[rows].unsqueeze(1), own * (1 - ctx.smoothing))
            if ctx.smoothing:
                table.add_(own * (ctx.smoothing / len(weight)))
            cast = table.to(hidden.dtype)
            if to_hidden is not None:
                to_hidden[rows] = cast @ weight.to(hidden.dtype)
            if to_weight is not None:
                _add_product(to_weight, cast, hidden[rows])
            if to_bias is not None:
                to_bias += table.sum(0)
        return to_hidden, None if to_weight is None else to_weight.to(weight.dtype), None, to_bias, None


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    logits = hidden @ weight.to(hidden.dtype).T
    logits = logits if bias is None else logits + bias.to(logits.dtype)
    return logits.float()


def _add_product(total: Tensor, table: Tensor, hidden: Tensor) -> None:
    if table.dtype == total.dtype:
        total.addmm_(table.T, hidden)
    else:
        total += (table.T @ hidden).float()


def _chunks(rows: int, vocabulary: int) -> list[slice]:
    size = max(1, CHUNK // vocabulary)
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
