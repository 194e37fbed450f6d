"""Beam search and diverse beam search, their books kept in tensors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from capreward.errors import InputError
from trainers.decoding.constraints import trigram_costs
from trainers.decoding.host_sync import fill_holes, worth_dropping, worth_looking
from trainers.decoding.hypotheses import Hypotheses
from trainers.decoding.likeliest_tokens import likeliest
from trainers.decoding.settings import Decoded, Decoding

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.captioners.base import Captioner, Memory
    from trainers.decoding.constraints import Constraints


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

    def advance(self, at: int, values: Tensor, parents: Tensor, words: Tensor) -> Tensor:
        """Take the step to place ``at``.

        Args:
            at: tokens that the beams have, the begin token included.
            values: [B, G, C] log-probabilities of the likeliest next tokens of each search, best continuations first.
            parents: like ``values``, the beams that they continue.
            words: like ``values``, the tokens.

        Returns:
            int64 [B, G, k], which beam of its group each new beam continues.
        """
        taken: list[Tensor] = []
        parts = [
            self._advance_group(at, group, values[:, group], parents[:, group], words[:, group], taken)
            for group in range(self.groups)
        ]
        self.running, self.own, self.tokens, parents = (torch.stack(part, 1) for part in zip(*parts, strict=True))
        return parents

    def _advance_group(
        self, at: int, group: int, values: Tensor, parents: Tensor, words: Tensor, taken: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        count = 2 * self.width
        scores = self.running[:, group].gather(1, parents) + values
        sums = self.own[:, group].gather(1, parents) + values
        if taken:
            met = (words.unsqueeze(-1) == torch.cat(taken, 1).unsqueeze(1)).sum(-1)
            scores, order = (scores - self.settings.diversity * met).sort(dim=1, descending=True, stable=True)
            sums, parents, words = (found.gather(1, order) for found in (sums, parents, words))
        scores, sums, parents, words = (found[:, :count] for found in (scores, sums, parents, words))
        ends = words == self.eos
        # The best that do not end; by the rules of CLIP-Caption-Reward the best, of which those that end are over.
        shared = self.settings.rules == "clip-reward"
        going = (torch.zeros_like(words) if shared else ends.long()).sort(dim=1, stable=True).indices[:, : self.width]
        tokens = self.tokens[:, group]
        tokens = tokens.gather(1, rows_of(parents, tokens))
        tokens[:, :, at] = words
        self._finish(at, group, scores, sums, tokens, ends, going)
        if self.groups > 1:
            taken.append(words.gather(1, going).masked_fill(self.done[:, group].unsqueeze(1), -1))
        if shared:
            scores, sums = (found.masked_fill(ends, -torch.inf) for found in (scores, sums))
        scores, sums, parents = (found.gather(1, going) for found in (scores, sums, parents))
        return scores, sums, tokens.gather(1, rows_of(going, tokens)), parents

    def _finish(
        self, at: int, group: int, scores: Tensor, sums: Tensor, tokens: Tensor, ends: Tensor, going: Tensor
    ) -> None:
        """Move captions that end here to the finished ones, and see which searches are done."""
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
        self.done[:, group] |= (worst > -torch.inf) & (worst >= self._hope(at, scores, ends, going))
        if last and settings.rules == "dico":
            self._add_unfinished(at, group, scores, sums, tokens, going)

    def _hope(self, at: int, scores: Tensor, ends: Tensor, going: Tensor) -> Tensor:
        """[B], what a search is given up for: no caption that goes on is taken to score better than this."""
        norm = self.settings.norm
        if self.settings.rules == "dico":
            return scores[:, 0] / norm(at)
        if self.settings.rules == "transformers":
            return scores.gather(1, going[:, :1]).squeeze(1) / norm(at)
        # The original looks for captions to the very end. A sum only falls, so this is the most that can be found.
        best = scores[:, : self.width].masked_fill(ends[:, : self.width], -torch.inf).amax(1)
        return best / max(norm(min(at + 1, self.settings.max_length - 1)), norm(self.settings.max_length - 1))

    def _add_unfinished(self, at: int, group: int, scores: Tensor, sums: Tensor, tokens: Tensor, going: Tensor) -> None:
        norm = self.settings.norm(at + 1)
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


def search(
    captioner: Captioner,
    memory: Memory,
    settings: Decoding,
    forbidden: list[list[int]],
    constraints: Constraints | None = None,
) -> Decoded:
    """Captions by beam search.

    Args:
        captioner: any.
        memory: of B images.
        settings: of the method ``beam`` or ``diverse``.
        forbidden: per place, tokens that are not written there.
        constraints: what depends on the words so far.

    Returns:
        [B, K], best first.

    Raises:
        InputError: more beams than the vocabulary can fill.
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
        running = beams.running[:, 0] if at == 1 else beams.running.flatten(0, 1)  # at first, groups share one beam
        edits = None if constraints is None or at == 1 else constraints(beams.tokens.flatten(0, 2)[:, :at])
        found = likeliest(logits, running, choices[at > 1], forbidden[at], edits)
        parents = beams.advance(at, *(part.view(len(live), -1, part.shape[1]).expand(-1, groups, -1) for part in found))
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
    best = _best(results, settings)
    return best if constraints is None or not constraints.trigrams else _without_costs(best, settings)


def _choices(captioner: Captioner, settings: Decoding, forbidden: list[list[int]], banned: int) -> tuple[int, int]:
    """Continuations of each search that may matter, at the first step and later.

    Twice the beams of a group, for each of them may end, and those that earlier groups may spoil: a token of theirs
    spoils one continuation of every beam.
    """
    width = settings.beams // settings.groups
    first = 2 * width + settings.beams - width
    most = captioner.vocabulary.size - max(len(tokens) for tokens in forbidden) - banned
    if first > most:
        raise InputError(f"{settings.beams} beams need {first} tokens to choose from, and the captioner has {most}")
    return first, 2 * width + (settings.beams - width) * width


def _left(beams: Beams) -> Tensor | None:
    """The images that are not done, where it is worth dropping the others."""
    left = fill_holes(~beams.done.all(1))
    if len(left) and not worth_dropping(len(beams.done), len(left)):
        return None
    return left


def _best(results: Hypotheses, settings: Decoding) -> Decoded:
    own, order = results.own.flatten(1).sort(dim=1, descending=True, stable=True)
    order = order[:, : settings.per_image]
    tokens = results.tokens.flatten(1, 2)
    tokens = tokens.gather(1, rows_of(order, tokens))
    lengths = results.lengths.flatten(1).gather(1, order)
    width = 1 + int(lengths.max())
    return Decoded(
        tokens[:, :, :width], lengths, own[:, : settings.per_image], results.ended.flatten(1).gather(1, order)
    )


def _without_costs(found: Decoded, settings: Decoding) -> Decoded:
    """The scores as the model has them: what repeated trigrams cost counts in the search and in the order alone."""
    longest = settings.max_length + 1
    norms = torch.tensor([settings.norm(length) for length in range(1, longest + 1)], device=found.scores.device)
    more = (~found.finished).long() if settings.rules == "dico" else 0  # see ``Beams._add_unfinished``
    costs = trigram_costs(found.tokens, found.lengths) / norms[found.lengths - 1 + more]
    return replace(found, scores=found.scores + costs)
