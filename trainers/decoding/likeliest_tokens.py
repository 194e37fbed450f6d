"""The likeliest tokens with their exact log-probabilities; no table of all tokens outlives a chunk of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch

from trainers.decoding.constraints import Edits, apply_edits

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 1 << 18  # logits at a time on a CPU, whose cache holds so many
CHUNK_GPU = 1 << 26
WIDE = 4096  # rows from here on are searched by blocks
BLOCK = 64


def chunks(rows: int, width: int, device: torch.device) -> Iterator[slice]:
    """Return slices of rows, of ``width`` numbers each, that are computed together."""
    size = max(1, (CHUNK if device.type == "cpu" else CHUNK_GPU) // width)
    return (slice(start, start + size) for start in range(0, rows, size))


def likeliest(
    logits: Tensor, beam_scores: Tensor, count: int, forbidden: Sequence[int] = (), edits: Edits | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the best continuations of each search, by the sum of the beam's and the token's log-probability.

    Forbidden tokens count in the normalisation, but they are not returned.

    Args:
        logits: Logits [S * R, V] of S searches of R beams, in any precision; they are not changed.
        beam_scores: The log-probability of what each beam has written, float32 [S, R].
        count: The number of continuations of each search; it must be less than the number of allowed ones.
        forbidden: The ids of forbidden tokens.
        edits: Tokens and amounts [S * R, M] that are added to log-probabilities.

    Returns:
        Three tensors [S, count], best first (of equal ones the first beam, then the first token): log-probabilities of
        the tokens alone in float32, edits included, the beams in int64 and the tokens in int64.
    """
    table = logits.view(*beam_scores.shape, -1)
    best = []
    for part in chunks(len(beam_scores), table[0].numel(), logits.device):
        logprobs = torch.log_softmax(table[part], -1, dtype=torch.float32)
        if edits is not None:
            each = slice(part.start * beam_scores.shape[1], part.stop * beam_scores.shape[1])
            logprobs = apply_edits(logprobs.flatten(0, 1), edits, each).view(logprobs.shape)
        for token in forbidden:
            logprobs[:, :, token] = -torch.inf
        best.append(_likeliest(logprobs, beam_scores[part], count))
    values, beams, tokens = (torch.cat(parts) for parts in zip(*best, strict=True))
    return values, beams, tokens


def _likeliest(logprobs: Tensor, beam_scores: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    vocabulary = logprobs.shape[2]
    flat = logprobs.flatten(1)
    block = 1 << int((flat.shape[1] / count) ** 0.5).bit_length() - 1
    if 2 * count * block < flat.shape[1] and vocabulary > block:
        places = _places_by_blocks(logprobs, beam_scores, count, block)
        totals = flat.gather(1, places) + beam_scores.gather(1, places // vocabulary)
        places = places.gather(1, totals.topk(count, dim=1, sorted=False).indices)
    else:
        totals = (logprobs + beam_scores.unsqueeze(-1)).flatten(1)
        places = totals.topk(count, dim=1, sorted=False).indices
    places = places.sort(dim=1).values
    values, beams = flat.gather(1, places), places // vocabulary
    order = (values + beam_scores.gather(1, beams)).sort(dim=1, descending=True, stable=True).indices
    return values.gather(1, order), beams.gather(1, order), (places % vocabulary).gather(1, order)


def _places_by_blocks(logprobs: Tensor, beam_scores: Tensor, count: int, block: int) -> Tensor:
    """Return places in [R * V] that hold the best: the blocks with the best maxima, and tails that fill no block.

    Block b of a row is every n-th token from b on, where n is the number of blocks: so maxima are taken over whole
    vectors.
    """
    searches, beams, vocabulary = logprobs.shape
    number = vocabulary // block
    whole, device = number * block, logprobs.device
    maxima = logprobs[:, :, :whole].view(searches, beams, block, number).amax(2) + beam_scores.unsqueeze(-1)
    best_blocks = maxima.flatten(1).topk(count, dim=1, sorted=False).indices
    first = best_blocks // number * vocabulary + best_blocks % number
    places = (first.unsqueeze(-1) + torch.arange(0, whole, number, device=device)).flatten(1)
    if whole == vocabulary:
        return places
    tails = torch.arange(whole, vocabulary, device=device) + vocabulary * torch.arange(beams, device=device).view(-1, 1)
    return torch.cat([places, tails.flatten().expand(searches, -1)], 1)


def greatest(logits: Tensor, forbidden: Sequence[int] = (), edits: Edits | None = None) -> tuple[Tensor, Tensor]:
    """Return the likeliest token of each row, the first one if several are equal.

    Args:
        logits: Logits [N, V], in any precision; they are not changed.
        forbidden: The ids of tokens that are not taken.
        edits: Tokens and amounts [N, M] that are added to logits before the choice.

    Returns:
        Log-probabilities float32 [N], without edits, and tokens int64 [N].
    """
    values, tokens = [], []
    for rows in chunks(len(logits), logits.shape[1], logits.device):
        table = logits[rows].float()
        logprobs = torch.log_softmax(table, -1)
        if edits is not None:
            table = apply_edits(table, edits, rows)
        if forbidden:
            table = table.clone()
            for token in forbidden:
                table[:, token] = -torch.inf
        best = first_greatest(table)
        values.append(logprobs.gather(1, best).squeeze(1))
        tokens.append(best.squeeze(1))
    return torch.cat(values), torch.cat(tokens)


def first_greatest(table: Tensor) -> Tensor:
    """Return ``argmax`` of each row of [N, V], int64 [N, 1], by way of blocks, whose maxima a CPU computes faster."""
    if table.shape[1] < WIDE or table.device.type != "cpu":
        return table.argmax(1, keepdim=True)
    blocks, tail = in_blocks(table)
    maxima = blocks.amax(2)
    if tail.shape[1]:
        maxima = torch.cat([maxima, tail.amax(1, keepdim=True)], 1)
    places = block_places(maxima.argmax(1, keepdim=True), table.shape[1])
    return places.gather(1, table.gather(1, places).argmax(1, keepdim=True))


def in_blocks(table: Tensor) -> tuple[Tensor, Tensor]:
    """Return views of [N, V]: neighbours in blocks, [N, V // BLOCK, BLOCK], and the tail that fills none."""
    whole = table.shape[1] // BLOCK * BLOCK
    return table[:, :whole].view(len(table), -1, BLOCK), table[:, whole:]


def block_places(block: Tensor, width: int) -> Tensor:
    """Return the places [N, BLOCK] of each row's block [N, 1]; past the end of a row they are its last place."""
    return (block * BLOCK + torch.arange(BLOCK, device=block.device)).clamp(max=width - 1)
