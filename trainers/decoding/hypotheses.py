"""The captions that beam search has finished: the best few of each search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


class Hypotheses:
    """The best k finished captions of [B, G] searches, best first; among equal ones the older comes first.

    Args:
        shape: The shape (B, G, k, L).
        pad: The token that fills the rows.
        device: The device of the tensors.
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
            group: The number of the group.
            scores: The scores [B, M], best first; -inf means that there is no caption.
            own: The scores [B, M] without the cost of diversity.
            tokens: The token rows [B, M, L].
            length: The number of tokens that are scored in all of them.
            ended: A bool tensor [B, M] that tells whether the last token is the end token.
        """
        merged = torch.cat([self.scores[:, group], scores], 1)
        values, order = merged.sort(dim=1, descending=True, stable=True)
        order = order[:, : self.scores.shape[2]]
        self.scores[:, group] = values[:, : order.shape[1]]
        lengths = torch.full_like(ended, length, dtype=torch.long)
        for old, new in ((self.own, own), (self.lengths, lengths), (self.ended, ended)):
            old[:, group] = torch.cat([old[:, group], new], 1).gather(1, order)
        all_tokens = torch.cat([self.tokens[:, group], tokens], 1)
        self.tokens[:, group] = all_tokens.gather(1, order.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))

    def worst(self, group: int) -> Tensor:
        """Return the scores [B] of the k-th best captions of a group; -inf if there are fewer."""
        return self.scores[:, group, -1]

    def put(self, images: Tensor, others: Hypotheses, rows: Tensor) -> None:
        """Copy the rows ``rows`` of other hypotheses to ``images``."""
        for name in ("scores", "own", "lengths", "ended", "tokens"):
            getattr(self, name)[images] = getattr(others, name)[rows]

    def keep(self, images: Tensor) -> None:
        """Keep only these images."""
        for name in ("scores", "own", "lengths", "ended", "tokens"):
            setattr(self, name, getattr(self, name)[images])
