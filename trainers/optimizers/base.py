"""The training paradigms by name, and what each of them is asked."""

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
    """Captions of B images that a loss is about.

    Attributes:
        tokens: int64 [B, K, L], begin token first.
        mask: bool [B, K, L - 1]: which of ``tokens[..., 1:]`` are scored.
        learned: the first so many of the K are learned from; the others are only judged (a greedy baseline).
        entropy: float32 [B, learned], the mean entropy of the policy at the tokens of each caption, where the optimizer
            asks for it.
        diversity: float32 [B], how varied the captions of an image are, likewise.
    """

    tokens: Tensor
    mask: Tensor
    learned: int
    entropy: Tensor | None = None
    diversity: Tensor | None = None

    def learned_rows(self) -> Tensor:
        """The rows to learn from, [B * learned, L]."""
        return self.tokens[:, : self.learned].flatten(0, 1)

    def learned_mask(self) -> Tensor:
        """Their mask, bool [B, learned, L - 1]."""
        return self.mask[:, : self.learned]


class Optimizer:
    """A training paradigm: which captions are tried, and what is learned from their rewards.

    Attributes:
        name: in the registry.
        needs_reward: whether candidates are drawn from the captioner and judged.
        needs_reference: whether the loss looks at the reference policy.
        smoothing: label smoothing of the policy's log-probabilities.
        dropout: whether the policy's pass has dropout.
        search_dropout: whether it is on while candidates are searched.
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
        """The reference captions to learn from, of an optimizer that needs no reward."""
        raise NotImplementedError

    def loss(
        self, policy: Tensor, reference: Tensor | None, candidates: CandidateTokens, rewards: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of B images and what to log of it.

        Args:
            policy: log-probabilities of the learned candidates' tokens, float32 [B, learned, L - 1], 0 if not scored.
            reference: those of the reference policy, where it is needed.
            candidates: the captions.
            rewards: float32 [B, K], where they are needed.

        Returns:
            A scalar, and detached scalars by name. Names that every run tells by itself (``kl``, ``reward``, ...; see
            ``trainers.runs.step.RESERVED``) are refused.
        """
        raise NotImplementedError

    def weight(self, candidates: CandidateTokens) -> Tensor:
        """What the loss is a mean over, a number: tokens or images. Batches that learn together are weighed by it."""
        raise NotImplementedError

    def options(self) -> dict[str, Any]:
        """The constructor's arguments as they are now."""
        return named_classes.options_of(self)


def find_optimizer(name: str) -> type[Optimizer]:
    """The class of an optimizer.

    Raises:
        InputError: an unknown name, with suggestions.
    """
    return named_classes.find("optimizer", name, OPTIMIZERS)


def make_optimizer(name: str, options: Mapping[str, Any] | None = None) -> Optimizer:
    """An optimizer with options; what is not given has its published value.

    Raises:
        InputError: an unknown name or option, or a value out of range.
    """
    made: Optimizer = named_classes.make("optimizer", name, OPTIMIZERS, options)
    return made
