"""The likeliest tokens of each row with their exact log-probabilities, without a table of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 64  # tokens whose greatest logit stands for them
WIDE = 4096  # vocabularies from here on are searched by blocks
CHUNK = 1 << 20  # logits at a time on a CPU: what its cache holds


def row_chunks(logits: Tensor) -> Iterator[slice]:
    """Rows that are worked on together: all of them on a GPU."""
    rows, vocabulary = logits.shape
    size = rows if logits.device.type != "cpu" else max(1, CHUNK // vocabulary)
    return (slice(start, start + size) for start in range(0, rows, max(size, 1)))


def normaliser(logits: Tensor) -> Tensor:
    """``logsumexp`` of each row of [N, V], float32 [N]."""
    return torch.cat([torch.logsumexp(logits[rows].float(), -1) for rows in row_chunks(logits)])


def likeliest(logits: Tensor, count: int, forbidden: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
    """The tokens of each row with the greatest logits.

    Forbidden tokens count in the normalisation and are left out of what is returned.

    Args:
        logits: [N, V], in any precision; left as they are.
        count: how many; with the forbidden ones at most V.
        forbidden: token ids.

    Returns:
        Log-probabilities float32 [N, count], greatest first, and tokens int64 [N, count].
    """
    found = [_likeliest(logits[rows].float(), count + len(forbidden)) for rows in row_chunks(logits)]
    values, tokens = (torch.cat(parts) for parts in zip(*found, strict=True))
    if not forbidden:
        return values, tokens
    for token in forbidden:
        values = values.masked_fill(tokens == token, -torch.inf)
    values, order = values.sort(dim=-1, descending=True, stable=True)
    return values[:, :count], tokens.gather(1, order[:, :count])


def greatest(logits: Tensor, forbidden: Sequence[int] = ()) -> tuple[Tensor, Tensor]:
    """The likeliest token of each row, the first one where several are.

    Args:
        logits: [N, V], in any precision; left as they are.
        forbidden: token ids that are not taken.

    Returns:
        Log-probabilities float32 [N] and tokens int64 [N].
    """
    values, tokens = [], []
    for rows in row_chunks(logits):
        table = logits[rows].float()
        total = torch.logsumexp(table, -1)
        if forbidden:
            table = table.clone()
            table[:, list(forbidden)] = -torch.inf
        token = table.argmax(-1, keepdim=True)
        values.append(table.gather(1, token).squeeze(1) - total)
        tokens.append(token.squeeze(1))
    return torch.cat(values), torch.cat(tokens)


def _likeliest(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    total = torch.logsumexp(logits, -1, keepdim=True)
    if logits.shape[1] < max(WIDE, 2 * count * BLOCK):
        values, tokens = logits.topk(count, dim=-1)
    else:
        values, tokens = _by_blocks(logits, count)
    return values - total, tokens


def _by_blocks(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    # The best tokens lie in the blocks with the best maxima, or in the tail that fills no block.
    whole = logits.shape[1] // BLOCK * BLOCK
    blocks = logits[:, :whole].view(len(logits), -1, BLOCK)
    chosen = blocks.amax(-1).topk(count, dim=-1).indices
    inner = torch.arange(BLOCK, device=logits.device)
    tail = torch.arange(whole, logits.shape[1], device=logits.device).expand(len(logits), -1)
    places = torch.cat([(chosen.unsqueeze(-1) * BLOCK + inner).flatten(1), tail], dim=1)
    values, order = logits.gather(1, places).topk(count, dim=-1)
    return values, places.gather(1, order)
