"""The registry of training paradigms, and the interface of each of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from trainers.optimizers import named_classes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from trainers.captioners.base import Captioner, Memory

OPTIMIZERS = {
    "xe": ("trainers.optimizers.xe:CrossEntropy", "cross-entropy on the reference captions"),
    "scst": (
        "trainers.optimizers.scst:SelfCritical",
        "REINFORCE on sampled captions against a baseline (Rennie et al. 2017)",
    ),
    "dico": ("trainers.optimizers.dico:DiCO", "direct CLIP-based optimization (Moratelli et al. 2024)"),
}


@dataclass
class CandidateTokens:
    """The candidate captions of B images that a loss is computed from.

    Attributes:
        tokens: Token rows int64 [B, K, L], begin token first.
        mask: A bool tensor [B, K, L - 1] that is True where ``tokens[..., 1:]`` is scored.
        learned: The number of the K candidates that are learned from. They come first; the others only get rewards (a
            greedy baseline).
        entropy: The mean entropy of the policy at the tokens of each caption, float32 [B, learned]; None if the
            optimizer does not use it.
        diversity: The diversity of the captions of each image, float32 [B]; None if the optimizer does not use it.
    """

    tokens: Tensor
    mask: Tensor
    learned: int
    entropy: Tensor | None = None
    diversity: Tensor | None = None

    def learned_rows(self) -> Tensor:
        """Return the rows to learn from, [B * learned, L]."""
        return self.tokens[:, : self.learned].flatten(0, 1)

    def learned_mask(self) -> Tensor:
        """Return the mask of the rows to learn from, bool [B, learned, L - 1]."""
        return self.mask[:, : self.learned]


class Optimizer:
    """A training paradigm: it makes candidates and computes a loss from their rewards.

    Attributes:
        name: The name in the registry.
        needs_reward: Whether candidates are drawn from the captioner and get rewards.
        needs_reference: Whether the loss uses the reference policy.
        smoothing: The label smoothing of the policy's log-probabilities.
        dropout: Whether the policy's pass has dropout.
        search_dropout: Whether dropout is on while candidates are searched.
    """

    name: ClassVar[str] = ""
    needs_reward: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = False
    smoothing: float = 0.0
    dropout: bool = True
    search_dropout: bool = False

    def draw_candidates(self, captioner: Captioner, memory: Memory, generator: torch.Generator) -> CandidateTokens:
        """Search or sample captions of B images, without gradient."""
        raise NotImplementedError

    def reference_candidates(
        self, captioner: Captioner, captions: Sequence[Sequence[str]], generator: torch.Generator
    ) -> CandidateTokens:
        """Return the reference captions to learn from, for an optimizer that needs no reward."""
        raise NotImplementedError

    def loss(
        self, policy: Tensor, reference: Tensor | None, candidates: CandidateTokens, rewards: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of B images and the statistics to log.

        Args:
            policy: The policy's log-probabilities of the learned candidates' tokens, float32 [B, learned, L - 1], 0 if
                not scored.
            reference: The log-probabilities of the reference policy, if the optimizer needs it.
            candidates: The candidate captions.
            rewards: The rewards float32 [B, K], if the optimizer needs them.

        Returns:
            A scalar, and detached scalars by name. Names that every run logs itself (``kl``, ``reward``, ...; see
            ``trainers.runs.step.RESERVED``) are refused.
        """
        raise NotImplementedError

    def weight(self, candidates: CandidateTokens) -> Tensor:
        """Return the number of tokens or images that the loss is a mean over; it weighs the micro-batches of a step."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments as they are now."""
        return named_classes.options_of(self)


def find_optimizer(name: str) -> type[Optimizer]:
    """Return the class of an optimizer.

    Raises:
        InputError: The name is unknown; the message has suggestions.
    """
    return named_classes.find("optimizer", name, OPTIMIZERS)


def make_optimizer(name: str, options: Mapping[str, Any] | None = None) -> Optimizer:
    """Make an optimizer; options that are not given take their published values.

    Raises:
        InputError: A name or an option is unknown, or a value is out of range.
    """
    optimizer: Optimizer = named_classes.make("optimizer", name, OPTIMIZERS, options)
    return optimizer
