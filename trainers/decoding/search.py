"""Beam search and diverse beam search, their books kept in tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from capreward.errors import InputError
from trainers.decoding.best import likeliest
from trainers.decoding.hypotheses import Hypotheses
from trainers.decoding.settings import Decoded, Decoding
from trainers.decoding.syncing import worth_dropping, worth_looking

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.captioners.base import Captioner, Memory


class Beams:
    """B * G searches of k beams each; a search of plain beam search is an image, G is 1.

    Args:
        images: B.
        settings: beams, groups, lengths and rules.
        captioner: for its vocabulary.
        device: of the tensors.
    """

    def __init__(self, images: int, settings: Decoding, captioner: Captioner, device: torch.device) -> None:
        self.settings = settings
        self.eos = captioner.vocabulary.eos
        self.groups, self.width = settings.groups, settings.beams // settings.groups
        shape = (images, self.groups, self.width)
        self.running = torch.zeros((images, self.groups, 1), device=device)  # one beam until the first step is done
        self.own = self.running.clone()
        pad = captioner.vocabulary.pad
        self.tokens = torch.full((images, self.groups, 1, settings.max_length), pad, dtype=torch.long, device=device)
        self.tokens[..., 0] = captioner.vocabulary.bos
        self.finished = Hypotheses((*shape, settings.max_length), pad, device)
        self.done = torch.zeros(shape[:2], dtype=torch.bool, device=device)

    def advance(self, at: int, values: Tensor, words: Tensor) -> Tensor:
        """Take the step to place ``at``.

        Args:
            at: tokens that the beams have, the begin token included.
            values: [B, G or 1, beams, C] log-probabilities of the likeliest next tokens of each beam.
            words: like ``values``, the tokens.

        Returns:
            int64 [B, G, k], which beam of its group each new beam continues.
        """
        parts = []
        taken: list[Tensor] = []
        for group in range(self.groups):
            own, word = (found[:, min(group, found.shape[1] - 1)] for found in (values, words))
            parts.append(self._advance_group(at, group, own, word, taken))
        running, sums, tokens, parents = (torch.stack(part, 1) for part in zip(*parts, strict=True))
        self.running, self.own, self.tokens = running, sums, tokens
        return parents

    def _advance_group(
        self, at: int, group: int, own: Tensor, words: Tensor, taken: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        count, choices = 2 * self.width, words.shape[-1]
        total = self.running[:, group].unsqueeze(-1) + own
        if taken:
            met = words.unsqueeze(-1) == torch.cat(taken, 1)[:, None, None]
            total = total - self.settings.diversity * met.sum(-1)
        sums = (self.own[:, group].unsqueeze(-1) + own).flatten(1)
        scores, order = total.flatten(1).sort(dim=1, descending=True, stable=True)
        scores, order = scores[:, :count], order[:, :count]
        sums, words = sums.gather(1, order), words.flatten(1).gather(1, order)
        parents = order // choices
        ends = words == self.eos
        going = ends.long().sort(dim=1, stable=True).indices[:, : self.width]  # the best that do not end
        rows = parents.unsqueeze(-1).expand(-1, -1, self.tokens.shape[-1])
        tokens = self.tokens[:, group].gather(1, rows)
        tokens[:, :, at] = words
        self._finish(at, group, scores, sums, tokens, ends, going)
        if self.groups > 1:
            taken.append(words.gather(1, going).masked_fill(self.done[:, group].unsqueeze(1), -1))
        kept = (found.gather(1, going) for found in (scores, sums, parents))
        running, sums, parents = kept
        return running, sums, tokens.gather(1, rows_of(going, tokens)), parents

    def _finish(
        self, at: int, group: int, scores: Tensor, sums: Tensor, tokens: Tensor, ends: Tensor, going: Tensor
    ) -> None:
        """Move captions that end here to the finished ones, and see which searches are done."""
        settings, width = self.settings, self.width
        last = at == settings.max_length - 1
        norm = at**settings.length_penalty
        cut = last and settings.rules == "transformers"  # its last step ends whatever is among the best k
        open_ = ~self.done[:, group].unsqueeze(1)
        new = open_ & (ends[:, :width] | cut)
        best = scores[:, :width]
        self.finished.add(
            group,
            (best / norm).masked_fill(~new, -torch.inf),
            sums[:, :width] / norm,
            tokens[:, :width],
            at,
            ends[:, :width],
        )
        hope = scores[:, 0] if settings.rules == "dico" else scores.gather(1, going[:, :1]).squeeze(1)
        worst = self.finished.worst(group)
        self.done[:, group] |= (worst > -torch.inf) & (worst >= hope / norm)
        if last and settings.rules == "dico":
            self._add_unfinished(at, group, scores, sums, tokens, going)

    def _add_unfinished(self, at: int, group: int, scores: Tensor, sums: Tensor, tokens: Tensor, going: Tensor) -> None:
        norm = (at + 1) ** self.settings.length_penalty
        done = self.done[:, group].unsqueeze(1)
        self.finished.add(
            group,
            (scores.gather(1, going) / norm).masked_fill(done, -torch.inf),
            sums.gather(1, going) / norm,
            tokens.gather(1, rows_of(going, tokens)),
            at,
            torch.zeros_like(going, dtype=torch.bool),
        )

    def keep(self, images: Tensor) -> None:
        """Drop all other images."""
        for name in ("running", "own", "tokens", "done"):
            setattr(self, name, getattr(self, name)[images])
        self.finished.keep(images)


def rows_of(order: Tensor, tokens: Tensor) -> Tensor:
    """Indices [B, M, L] that gather the rows ``order`` [B, M] of ``tokens`` [B, R, L]."""
    return order.unsqueeze(-1).expand(-1, -1, tokens.shape[-1])


def search(captioner: Captioner, memory: Memory, settings: Decoding, forbidden: list[list[int]]) -> Decoded:
    """Captions by beam search.

    Args:
        captioner: any.
        memory: of B images.
        settings: of the method ``beam`` or ``diverse``.
        forbidden: per place, tokens that are not written there.

    Returns:
        [B, K], best first.

    Raises:
        InputError: more beams than the vocabulary can fill.
    """
    choices = _choices(captioner, settings, forbidden)
    cache = captioner.start(memory, settings.max_length)
    device = cache.words.device
    beams = Beams(len(memory), settings, captioner, device)
    groups, width = beams.groups, beams.width
    results = Hypotheses((len(memory), groups, width, settings.max_length), captioner.vocabulary.pad, device)
    live = torch.arange(len(memory), device=device)
    fed = beams.tokens[:, 0, :, 0].flatten()
    rows_before = 1
    for at in range(1, settings.max_length):
        values, words = likeliest(captioner.step(cache, fed), choices, forbidden[at])
        shape = (len(live), 1 if at == 1 else groups, -1 if at == 1 else width, choices)
        parents = beams.advance(at, values.view(shape), words.view(shape))
        if at == settings.max_length - 1:
            break
        images = torch.arange(len(live), device=device)
        kept = _left(beams) if worth_looking(at, device) else None
        if kept is not None:
            results.put(live, beams.finished, images)
            beams.keep(kept)
            live, images, parents = live[kept], kept, parents[kept]
            if not len(live):
                break
        offsets = 0 if at == 1 else torch.arange(groups, device=device).view(-1, 1) * width
        rows = (images.view(-1, 1, 1) * rows_before + offsets + parents).flatten()
        if kept is None:
            cache.reorder(rows)
        else:
            cache.keep(kept, rows)
        rows_before = groups * width
        fed = beams.tokens[..., at].flatten()
    results.put(live, beams.finished, torch.arange(len(live), device=device))
    return _best(results, settings)


def _choices(captioner: Captioner, settings: Decoding, forbidden: list[list[int]]) -> int:
    """Tokens of each beam that may matter: twice the beams of a group, and those that other groups may spoil."""
    width = settings.beams // settings.groups
    choices = width + settings.beams if settings.groups > 1 else 2 * settings.beams
    most = captioner.vocabulary.size - max(len(tokens) for tokens in forbidden)
    if choices > most:
        raise InputError(f"{settings.beams} beams need {choices} tokens to choose from, and the captioner has {most}")
    return choices


def _left(beams: Beams) -> Tensor | None:
    """The images that are not done, where it is worth dropping the others."""
    left = (~beams.done.all(1)).nonzero().squeeze(1)
    if len(left) and not worth_dropping(len(beams.done), len(left)):
        return None
    return left


def _best(results: Hypotheses, settings: Decoding) -> Decoded:
    own, order = results.own.flatten(1).sort(dim=1, descending=True, stable=True)
    order = order[:, : settings.per_image]
    tokens = results.tokens.flatten(1, 2)
    tokens = tokens.gather(1, rows_of(order, tokens))
    lengths = results.lengths.flatten(1).gather(1, order)
    width = 1 + int(lengths.max()) if len(lengths) else 1
    return Decoded(
        tokens[:, :, :width], lengths, own[:, : settings.per_image], results.ended.flatten(1).gather(1, order)
    )
