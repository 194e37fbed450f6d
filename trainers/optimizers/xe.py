"""The ``xe`` optimizer: cross-entropy on the reference captions, by teacher forcing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from capreward.option_checks import check_flag, check_range
from trainers.captioners.vocabulary import target_mask
from trainers.optimizers.base import CandidateTokens, Optimizer

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trainers.captioners.base import Captioner


class CrossEntropy(Optimizer):
    """The mean negative log-likelihood over all words and end tokens of the batch; padding is not counted.

    DiCO's published code also counts the padding and feeds begin tokens for words (dico.md 2.6); neither is repeated.

    Args:
        captions: The number of references of each image to learn from at a time. An image with more references gives
            others each time; an image with fewer repeats some.
        label_smoothing: The share of the uniform distribution, in [0, 1).
        dropout: Whether dropout is on.
    """

    name = "xe"
    needs_reward = False

    def __init__(self, captions: int = 1, label_smoothing: float = 0.0, dropout: bool = True) -> None:
        check_range("captions", captions, 1, whole=True)
        check_range("label_smoothing", label_smoothing, 0, 0.999)
        check_flag("dropout", dropout)
        self.captions = captions
        self.label_smoothing = self.smoothing = label_smoothing
        self.dropout = dropout

    def reference_candidates(
        self, captioner: Captioner, captions: Sequence[Sequence[str]], generator: torch.Generator
    ) -> CandidateTokens:
        """Draw ``captions`` references of each image; none is repeated before all were taken.

        The generator gives one number per image: images drawn in several calls get the same as in one call.
        """
        import torch

        selected = []
        # One number per image, so that what an image gets does not depend on how many captions those before it have.
        seeds = torch.randint(2**62, (len(captions),), generator=generator).tolist()
        for references, seed in zip(captions, seeds, strict=True):
            image_generator = torch.Generator().manual_seed(seed)
            order: list[int] = []
            while len(order) < self.captions:
                order += torch.randperm(len(references), generator=image_generator).tolist()
            selected += [references[i] for i in order[: self.captions]]
        tokens = captioner.token_rows(selected)
        mask = target_mask(captioner.vocabulary, tokens)
        shape = (len(captions), self.captions, -1)
        return CandidateTokens(tokens.view(shape), mask.view(shape), self.captions)

    def loss(
        self, policy: Tensor, reference: Tensor | None, candidates: CandidateTokens, rewards: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute ``-sum(log p) / tokens``, in nats per token."""
        loss = -policy.sum() / self.weight(candidates)
        return loss, {"loss": loss.detach()}

    def weight(self, candidates: CandidateTokens) -> Tensor:
        """Return the number of tokens learned from."""
        return candidates.learned_mask().sum().clamp(min=1).float()
