"""Captions that beam search has finished, the best few of each search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Hypotheses:
    """The best k finished captions of [B, G] searches, best first; of equal ones the older first.

    Args:
        shape: (B, G, k, L).
        pad: fills the tokens.
        device: of the tensors.
    """

    def __init__(self, shape: tuple[int, int, int, int], pad: int, device: torch.device) -> None:
        self.scores = torch.full(shape[:3], -torch.inf, device=device)  # what they are compared by
        self.own = torch.full(shape[:3], -torch.inf, device=device)  # the same without what diversity costs
        self.lengths = torch.zeros(shape[:3], dtype=torch.long, device=device)
        self.ended = torch.zeros(shape[:3], dtype=torch.bool, device=device)
        self.tokens = torch.full(shape, pad, dtype=torch.long, device=device)

    def add(self, group: int, scores: Tensor, own: Tensor, tokens: Tensor, length: int, ended: Tensor) -> None:
        """Add the captions of one step to those of a group.

        Args:
            group: which.
            scores: [B, M], best first; -inf for none.
            own: [B, M].
            tokens: [B, M, L].
            length: tokens that are scored in all of them.
            ended: bool [B, M], whether the last one is the end token.
        """
        merged = torch.cat([self.scores[:, group], scores], 1)
        values, order = merged.sort(dim=1, descending=True, stable=True)
        order = order[:, : self.scores.shape[2]]
        self.scores[:, group] = values[:, : order.shape[1]]
        lengths = torch.full_like(ended, length, dtype=torch.long)
        for kept, new in ((self.own, own), (self.lengths, lengths), (self.ended, ended)):
            kept[:, group] = torch.cat([kept[:, group], new], 1).gather(1, order)
        all_tokens = torch.cat([self.tokens[:, group], tokens], 1)
        self.tokens[:, group] = all_tokens.gather(1, order.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))

    def worst(self, group: int) -> Tensor:
        """[B] scores of the k-th best of a group; -inf where there are fewer."""
        return self.scores[:, group, -1]

    def put(self, images: Tensor, found: Hypotheses, rows: Tensor) -> None:
        """Copy the rows ``rows`` of others to ``images``."""
        for name in ("scores", "own", "lengths", "ended", "tokens"):
            getattr(self, name)[images] = getattr(found, name)[rows]

    def keep(self, images: Tensor) -> None:
        """Drop all other images."""
        for name in ("scores", "own", "lengths", "ended", "tokens"):
            setattr(self, name, getattr(self, name)[images])
