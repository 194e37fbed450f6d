"""The likeliest tokens with their exact log-probabilities; no table of all of them outlives a chunk of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from trainers.decoding.constraints import Edits, edited

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 1 << 18  # logits at a time on a CPU, whose cache holds so many
CHUNK_GPU = 1 << 26
WIDE = 4096  # rows from here on are searched by blocks
BLOCK = 64


def chunks(rows: int, width: int, device: torch.device) -> Iterator[slice]:
    """Rows of ``width`` numbers that are worked on together."""
    size = max(1, (CHUNK if device.type == "cpu" else CHUNK_GPU) // width)
    return (slice(start, start + size) for start in range(0, rows, size))


def likeliest(
    logits: Tensor, running: Tensor, count: int, forbidden: Sequence[int] = (), edits: Edits | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """The continuations of each search whose log-probability is greatest together with that of what they continue.

    Forbidden tokens count in the normalisation and are left out of what is returned.

    Args:
        logits: [S * R, V] of S searches of R beams, in any precision; left as they are.
        running: float32 [S, R], of what the beams have written.
        count: how many of each search; less than all that are allowed.
        forbidden: token ids.
        edits: tokens and amounts [S * R, M] that are added to log-probabilities.

    Returns:
        Best first (of equal ones the first beam, then the first token), each [S, count]: log-probabilities of the
        tokens alone in float32, edits included, the beams and the tokens in int64.
    """
    table = logits.view(*running.shape, -1)
    found = []
    for part in chunks(len(running), table[0].numel(), logits.device):
        logprobs = torch.log_softmax(table[part], -1, dtype=torch.float32)
        if edits is not None:
            each = slice(part.start * running.shape[1], part.stop * running.shape[1])
            logprobs = edited(logprobs.flatten(0, 1), edits, each).view(logprobs.shape)
        for token in forbidden:
            logprobs[:, :, token] = -torch.inf
        found.append(_likeliest(logprobs, running[part], count))
    values, beams, tokens = (torch.cat(parts) for parts in zip(*found, strict=True))
    return values, beams, tokens


def _likeliest(logprobs: Tensor, running: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    vocabulary = logprobs.shape[2]
    flat = logprobs.flatten(1)
    block = 1 << int((flat.shape[1] / count) ** 0.5).bit_length() - 1
    if 2 * count * block < flat.shape[1] and vocabulary > block:
        places = _places_by_blocks(logprobs, running, count, block)
        totals = flat.gather(1, places) + running.gather(1, places // vocabulary)
        places = places.gather(1, totals.topk(count, dim=1, sorted=False).indices)
    else:
        totals = (logprobs + running.unsqueeze(-1)).flatten(1)
        places = totals.topk(count, dim=1, sorted=False).indices
    places = places.sort(dim=1).values
    values, beams = flat.gather(1, places), places // vocabulary
    order = (values + running.gather(1, beams)).sort(dim=1, descending=True, stable=True).indices
    return values.gather(1, order), beams.gather(1, order), (places % vocabulary).gather(1, order)


def _places_by_blocks(logprobs: Tensor, running: Tensor, count: int, block: int) -> Tensor:
    """Places in [R * V] that hold the best: those of the blocks with the best maxima, and tails that fill no block.

    Block b of a row is every n-th token from b on, n the number of blocks, for so maxima are taken over whole vectors.
    """
    searches, beams, vocabulary = logprobs.shape
    number = vocabulary // block
    whole, device = number * block, logprobs.device
    maxima = logprobs[:, :, :whole].view(searches, beams, block, number).amax(2) + running.unsqueeze(-1)
    chosen = maxima.flatten(1).topk(count, dim=1, sorted=False).indices
    first = chosen // number * vocabulary + chosen % number
    places = (first.unsqueeze(-1) + torch.arange(0, whole, number, device=device)).flatten(1)
    if whole == vocabulary:
        return places
    tails = torch.arange(whole, vocabulary, device=device) + vocabulary * torch.arange(beams, device=device).view(-1, 1)
    return torch.cat([places, tails.flatten().expand(searches, -1)], 1)


def greatest(logits: Tensor, forbidden: Sequence[int] = (), edits: Edits | None = None) -> tuple[Tensor, Tensor]:
    """The likeliest token of each row, the first one where several are.

    Args:
        logits: [N, V], in any precision; left as they are.
        forbidden: token ids that are not taken.
        edits: tokens and amounts [N, M] that are added to logits before the choice.

    Returns:
        Log-probabilities float32 [N], without edits, and tokens int64 [N].
    """
    values, tokens = [], []
    for rows in chunks(len(logits), logits.shape[1], logits.device):
        table = logits[rows].float()
        logprobs = torch.log_softmax(table, -1)
        if edits is not None:
            table = edited(table, edits, rows)
        if forbidden:
            table = table.clone()
            for token in forbidden:
                table[:, token] = -torch.inf
        found = first_greatest(table)
        values.append(logprobs.gather(1, found).squeeze(1))
        tokens.append(found.squeeze(1))
    return torch.cat(values), torch.cat(tokens)


def first_greatest(table: Tensor) -> Tensor:
    """``argmax`` of each row of [N, V], int64 [N, 1], by way of blocks, whose maxima a CPU finds much faster."""
    if table.shape[1] < WIDE or table.device.type != "cpu":
        return table.argmax(1, keepdim=True)
    blocks, tail = in_blocks(table)
    maxima = blocks.amax(2)
    if tail.shape[1]:
        maxima = torch.cat([maxima, tail.amax(1, keepdim=True)], 1)
    places = block_places(maxima.argmax(1, keepdim=True), table.shape[1])
    return places.gather(1, table.gather(1, places).argmax(1, keepdim=True))


def in_blocks(table: Tensor) -> tuple[Tensor, Tensor]:
    """Views of [N, V]: neighbours in blocks, [N, V // BLOCK, BLOCK], and the tail that fills none."""
    whole = table.shape[1] // BLOCK * BLOCK
    return table[:, :whole].view(len(table), -1, BLOCK), table[:, whole:]


def block_places(block: Tensor, width: int) -> Tensor:
    """Places [N, BLOCK] of the block of each row, [N, 1]; past the end of a row, its last place."""
    return (block * BLOCK + torch.arange(BLOCK, device=block.device)).clamp(max=width - 1)
