"""Beam search and diverse beam search, with the state of all searches in tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from capreward.errors import InputError
from trainers.decoding.constraints import trigram_costs
from trainers.decoding.device_synchronization import fill_holes, sync_due, worth_dropping
from trainers.decoding.hypotheses import Hypotheses
from trainers.decoding.likeliest_tokens import likeliest
from trainers.decoding.settings import Decoded, Decoding

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.captioners.base import Captioner, Memory
    from trainers.decoding.constraints import Constraints


class Beams:
    """The beams of B * G searches of k beams each.

    Plain beam search has one search per image, so that G is 1.

    Args:
        images: The number of images B.
        settings: The settings: beams, groups, lengths and rules.
        captioner: The captioner, whose vocabulary is used.
        device: The device of the tensors.
    """

    def __init__(self, images: int, settings: Decoding, captioner: Captioner, device: torch.device) -> None:
        self.settings = settings
        self.eos = captioner.vocabulary.eos
        self.groups, self.width = settings.groups, settings.beams // settings.groups
        shape = (images, self.groups, self.width)
        self.beam_scores = torch.zeros((images, self.groups, 1), device=device)  # one beam until the first step is done
        self.beam_logprobs = self.beam_scores.clone()
        pad = captioner.vocabulary.pad
        self.tokens = torch.full((images, self.groups, 1, settings.max_length), pad, dtype=torch.long, device=device)
        self.tokens[..., 0] = captioner.vocabulary.bos
        self.finished = Hypotheses((*shape, settings.max_length), pad, device)
        self.done = torch.zeros(shape[:2], dtype=torch.bool, device=device)

    def advance(self, at: int, values: Tensor, parents: Tensor, words: Tensor) -> Tensor:
        """Extend the beams by the token at place ``at``.

        Args:
            at: The number of tokens that the beams have, the begin token included.
            values: Log-probabilities [B, G, C] of the likeliest next tokens of each search, best continuations first.
            parents: The beams that they continue, in the shape of ``values``.
            words: The tokens, in the shape of ``values``.

        Returns:
            An int64 tensor [B, G, k]: the beam of its group that each new beam continues.
        """
        taken: list[Tensor] = []
        parts = [
            self._advance_group(at, group, values[:, group], parents[:, group], words[:, group], taken)
            for group in range(self.groups)
        ]
        self.beam_scores, self.beam_logprobs, self.tokens, parents = (
            torch.stack(part, 1) for part in zip(*parts, strict=True)
        )
        return parents

    def _advance_group(
        self, at: int, group: int, values: Tensor, parents: Tensor, words: Tensor, taken: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        count = 2 * self.width
        scores = self.beam_scores[:, group].gather(1, parents) + values
        sums = self.beam_logprobs[:, group].gather(1, parents) + values
        if taken:
            overlaps = (words.unsqueeze(-1) == torch.cat(taken, 1).unsqueeze(1)).sum(-1)
            scores, order = (scores - self.settings.diversity * overlaps).sort(dim=1, descending=True, stable=True)
            sums, parents, words = (table.gather(1, order) for table in (sums, parents, words))
        scores, sums, parents, words = (table[:, :count] for table in (scores, sums, parents, words))
        ends = words == self.eos
        # The best that do not end go on. By the rules of CLIP-Caption-Reward the best go on, of which those that end
        # are over.
        shared = self.settings.rules == "clip-reward"
        continuing = (
            (torch.zeros_like(words) if shared else ends.long()).sort(dim=1, stable=True).indices[:, : self.width]
        )
        tokens = self.tokens[:, group]
        tokens = tokens.gather(1, rows_of(parents, tokens))
        tokens[:, :, at] = words
        self._finish(at, group, scores, sums, tokens, ends, continuing)
        if self.groups > 1:
            taken.append(words.gather(1, continuing).masked_fill(self.done[:, group].unsqueeze(1), -1))
        if shared:
            scores, sums = (table.masked_fill(ends, -torch.inf) for table in (scores, sums))
        scores, sums, parents = (table.gather(1, continuing) for table in (scores, sums, parents))
        return scores, sums, tokens.gather(1, rows_of(continuing, tokens)), parents

    def _finish(
        self, at: int, group: int, scores: Tensor, sums: Tensor, tokens: Tensor, ends: Tensor, continuing: Tensor
    ) -> None:
        """Move captions that end here to the finished ones, and update which searches are done."""
        settings, width = self.settings, self.width
        last = at == settings.max_length - 1
        norm = settings.norm(at)
        cut = last and settings.rules != "dico"  # their last step ends whatever is among the best k
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
        worst = self.finished.worst(group)
        self.done[:, group] |= (worst > -torch.inf) & (worst >= self._best_possible(at, scores, ends, continuing))
        if last and settings.rules == "dico":
            self._add_unfinished(at, group, scores, sums, tokens, continuing)

    def _best_possible(self, at: int, scores: Tensor, ends: Tensor, continuing: Tensor) -> Tensor:
        """Return the score [B] at which a search is given up: no caption that goes on is taken to score better."""
        norm = self.settings.norm
        if self.settings.rules == "dico":
            return scores[:, 0] / norm(at)
        if self.settings.rules == "transformers":
            return scores.gather(1, continuing[:, :1]).squeeze(1) / norm(at)
        # The original looks for captions to the very end. A sum only falls, so this is the best score that can be
        # reached.
        best = scores[:, : self.width].masked_fill(ends[:, : self.width], -torch.inf).amax(1)
        return best / max(norm(min(at + 1, self.settings.max_length - 1)), norm(self.settings.max_length - 1))

    def _add_unfinished(
        self, at: int, group: int, scores: Tensor, sums: Tensor, tokens: Tensor, continuing: Tensor
    ) -> None:
        norm = self.settings.norm(at + 1)
        done = self.done[:, group].unsqueeze(1)
        self.finished.add(
            group,
            (scores.gather(1, continuing) / norm).masked_fill(done, -torch.inf),
            sums.gather(1, continuing) / norm,
            tokens.gather(1, rows_of(continuing, tokens)),
            at,
            torch.zeros_like(continuing, dtype=torch.bool),
        )

    def keep(self, images: Tensor) -> None:
        """Keep only these images."""
        for name in ("beam_scores", "beam_logprobs", "tokens", "done"):
            setattr(self, name, getattr(self, name)[images])
        self.finished.keep(images)


def rows_of(order: Tensor, tokens: Tensor) -> Tensor:
    """Return the indices [B, M, L] that gather the rows ``order`` [B, M] of ``tokens`` [B, R, L]."""
    return order.unsqueeze(-1).expand(-1, -1, tokens.shape[-1])


def search(
    captioner: Captioner,
    memory: Memory,
    settings: Decoding,
    forbidden: list[list[int]],
    constraints: Constraints | None = None,
) -> Decoded:
    """Search captions by beam search.

    Args:
        captioner: The captioner.
        memory: The memory of B images.
        settings: Settings of the method ``beam`` or ``diverse``.
        forbidden: For each place, the tokens that are not written there.
        constraints: The rules that depend on the words so far.

    Returns:
        The captions [B, K], best first.

    Raises:
        InputError: There are more beams than the vocabulary can fill.
    """
    choices = _choices(captioner, settings, forbidden, 0 if constraints is None else constraints.most_banned)
    cache = captioner.start(memory, settings.max_length)
    device = memory.states.device
    beams = Beams(len(memory), settings, captioner, device)
    groups, width = beams.groups, beams.width
    results = Hypotheses((len(memory), groups, width, settings.max_length), captioner.vocabulary.pad, device)
    live = torch.arange(len(memory), device=device)
    fed = beams.tokens[:, 0, :, 0].flatten()
    rows_before = 1
    for at in range(1, settings.max_length):
        logits = captioner.step(cache, fed)
        # At the first step all groups share one beam.
        scores = beams.beam_scores[:, 0] if at == 1 else beams.beam_scores.flatten(0, 1)
        edits = None if constraints is None or at == 1 else constraints(beams.tokens.flatten(0, 2)[:, :at])
        continuations = likeliest(logits, scores, choices[at > 1], forbidden[at], edits)
        shared = (part.view(len(live), -1, part.shape[1]).expand(-1, groups, -1) for part in continuations)
        parents = beams.advance(at, *shared)
        if at == settings.max_length - 1:
            break
        images = torch.arange(len(live), device=device)
        kept = _unfinished_images(beams) if sync_due(at, device) else None
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
    best = _best(results, settings)
    return best if constraints is None or not constraints.trigrams else _without_costs(best, settings)


def _choices(captioner: Captioner, settings: Decoding, forbidden: list[list[int]], banned: int) -> tuple[int, int]:
    """Return how many continuations of each search may matter, at the first step and later.

    These are twice the beams of a group, because each of them may end, and those that earlier groups may spoil: a token
    of an earlier group spoils one continuation of every beam.
    """
    width = settings.beams // settings.groups
    first = 2 * width + settings.beams - width
    most = captioner.vocabulary.size - max(len(tokens) for tokens in forbidden) - banned
    if first > most:
        raise InputError(f"{settings.beams} beams need {first} tokens to choose from, and the captioner has {most}")
    return first, 2 * width + (settings.beams - width) * width


def _unfinished_images(beams: Beams) -> Tensor | None:
    """Return the images that are not done; None if it is not worth dropping the others."""
    unfinished = fill_holes(~beams.done.all(1))
    if len(unfinished) and not worth_dropping(len(beams.done), len(unfinished)):
        return None
    return unfinished


def _best(results: Hypotheses, settings: Decoding) -> Decoded:
    scores, order = results.own.flatten(1).sort(dim=1, descending=True, stable=True)
    order = order[:, : settings.per_image]
    tokens = results.tokens.flatten(1, 2)
    tokens = tokens.gather(1, rows_of(order, tokens))
    lengths = results.lengths.flatten(1).gather(1, order)
    width = 1 + int(lengths.max())
    return Decoded(
        tokens[:, :, :width], lengths, scores[:, : settings.per_image], results.ended.flatten(1).gather(1, order)
    )


def _without_costs(decoded: Decoded, settings: Decoding) -> Decoded:
    """Return the scores of the model itself: the costs of repeated trigrams count only in search and order."""
    longest = settings.max_length + 1
    norms = torch.tensor([settings.norm(length) for length in range(1, longest + 1)], device=decoded.scores.device)
    more = (~decoded.finished).long() if settings.rules == "dico" else 0  # see ``Beams._add_unfinished``
    costs = trigram_costs(decoded.tokens, decoded.lengths) / norms[decoded.lengths - 1 + more]
    return replace(decoded, scores=decoded.scores + costs)
