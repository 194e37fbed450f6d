"""Greedy decoding and sampling, in which rows grow independently of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainers.decoding.device_synchronization import fill_holes, sync_due, worth_dropping
from trainers.decoding.likeliest_tokens import greatest
from trainers.decoding.settings import Decoded, Decoding
from trainers.decoding.token_draws import draw

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.captioners.base import Captioner, Memory
    from trainers.decoding.constraints import Constraints


class Rows:
    """The B * K captions that grow, and which of them still grow.

    Args:
        images: The number of images B.
        settings: The settings, which give K and the greatest length.
        captioner: The captioner, whose vocabulary is used.
        device: The device of the tensors.
    """

    def __init__(self, images: int, settings: Decoding, captioner: Captioner, device: torch.device) -> None:
        words = captioner.vocabulary
        self.eos, self.pad = words.eos, words.pad
        rows = images * settings.per_image
        self.tokens = torch.full((rows, settings.max_length), words.pad, dtype=torch.long, device=device)
        self.tokens[:, 0] = words.bos
        self.lengths = torch.zeros(rows, dtype=torch.long, device=device)
        self.scores = torch.zeros(rows, dtype=torch.float32, device=device)
        self.ended = torch.zeros(rows, dtype=torch.bool, device=device)
        self.live = torch.arange(rows, device=device).view(images, -1)  # [images worked on, rows of each]

    def add(self, at: int, values: Tensor, tokens: Tensor) -> Tensor:
        """Write the tokens [N] selected for the live rows at place ``at``; return the tokens to feed next, [N]."""
        rows = self.live.flatten()
        ended = self.ended[rows]
        tokens = tokens.masked_fill(ended, self.pad)
        self.tokens[rows, at] = tokens
        self.lengths[rows] += ~ended
        self.scores[rows] += values.masked_fill(ended, 0)
        self.ended[rows] = ended | (tokens == self.eos)
        return tokens

    def drop(self) -> tuple[Tensor, Tensor] | None:
        """Drop what has ended, so that all images keep equally many rows.

        Returns:
            The images and rows that are kept of those before; None if nothing is dropped. There are no images if all
            rows have ended.
        """
        ended = self.ended[self.live]
        left = (~ended).sum(1)
        images = fill_holes(left > 0)
        width = int(left.max()) if len(images) else 0
        before = self.live.shape
        if len(images) and not worth_dropping(before.numel(), len(images) * width):
            return None
        # Rows that go on come first; an image that has fewer of them than others keeps some that have ended.
        order = ended[images].long().sort(dim=1, stable=True).indices[:, :width]
        rows = (images.unsqueeze(1) * before[1] + order).flatten()
        self.live = self.live.flatten()[rows].view(len(images), width)
        return images, rows


def decode_rows(
    captioner: Captioner,
    memory: Memory,
    settings: Decoding,
    forbidden: list[list[int]],
    generator: torch.Generator | None,
    constraints: Constraints | None = None,
) -> Decoded:
    """Decode captions greedily, or sample captions from the model.

    Args:
        captioner: The captioner.
        memory: The memory of B images.
        settings: Settings of the method ``greedy`` or ``sample``.
        forbidden: For each place, the tokens that are not written there.
        generator: The generator of samples; torch's own by default.
        constraints: The rules that depend on the words so far.

    Returns:
        The captions [B, K].
    """
    cache = captioner.start(memory, settings.max_length)
    count, device = settings.per_image, memory.states.device
    rows = Rows(len(memory), settings, captioner, device)
    uniforms = _uniforms(rows, settings, generator)
    fed = rows.tokens[::count, 0]
    for at in range(1, settings.max_length):
        logits = captioner.step(cache, fed)
        edits = None if constraints is None or at == 1 else constraints(rows.tokens[rows.live.flatten(), :at])
        if uniforms is None:
            values, tokens = greatest(logits, forbidden[at], edits)
        else:
            draws = uniforms[at, rows.live.flatten()].view(len(logits), -1)
            values, tokens = (drawn.flatten() for drawn in draw(logits, draws, settings, forbidden[at], edits))
        fed = rows.add(at, values, tokens)
        if at == settings.max_length - 1:
            break
        if at == 1 and count > 1:
            cache.reorder(torch.arange(len(memory), device=device).repeat_interleave(count))
        if sync_due(at, device):
            kept = rows.drop()
            if kept is not None:
                if not len(kept[0]):
                    break
                cache.keep(*kept)
                fed = fed[kept[1]]
    width = 1 + int(rows.lengths.max())
    shape = (len(memory), count)
    return Decoded(
        rows.tokens[:, :width].reshape(*shape, width),
        rows.lengths.view(shape),
        rows.scores.view(shape),
        rows.ended.view(shape),
    )


def _uniforms(rows: Rows, settings: Decoding, generator: torch.Generator | None) -> Tensor | None:
    """Draw a number for every token in advance, so that samples do not depend on which rows were dropped."""
    if settings.method == "greedy":
        return None
    device = rows.tokens.device if generator is None else generator.device
    shape = (settings.max_length, len(rows.tokens))
    uniforms = torch.rand(shape, generator=generator, dtype=torch.float64, device=device)
    return uniforms.to(rows.tokens.device)
