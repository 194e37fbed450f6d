"""``scst``: self-critical sequence training, REINFORCE on sampled captions against a baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from trainers.advantages import against_baseline, leave_one_out
from trainers.captioners.vocabulary import target_mask
from trainers.optimizers import Candidates, Optimizer, check_choice, check_flag, check_range

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.captioners.base import Captioner, Memory

BASELINES = ("greedy", "mean", "none")


class SelfCritical(Optimizer):
    """``-sum(m * (r - baseline) * log p) / sum(m)`` over all tokens of the batch (Rennie et al. 2017).

    As CLIP-Caption-Reward computes it (clipreward.md 5): one mean over all tokens, so that long captions weigh more,
    end tokens counted, no whitening. Log-probabilities come from a second pass over the sampled captions rather than
    from the sampling itself; with dropout off, the default, both are the same numbers.

    Args:
        candidates: sampled captions per image.
        baseline: ``greedy``, the reward of the greedily decoded caption; ``mean``, of the image's other samples; or
            ``none``.
        temperature: of the sampling.
        max_length: tokens of a sampled caption at most, the begin token included.
        dropout: whether it is on, in the sampling and in the pass that learns.
    """

    name = "scst"

    def __init__(
        self,
        candidates: int = 5,
        baseline: str = "greedy",
        temperature: float = 1.0,
        max_length: int = 30,
        dropout: bool = False,
    ) -> None:
        check_choice("baseline", baseline, BASELINES)
        check_range("candidates", candidates, 2 if baseline == "mean" else 1, whole=True)
        check_range("temperature", temperature, 0.01)
        check_range("max_length", max_length, 2, whole=True)
        check_flag("dropout", dropout)
        self.n_candidates = candidates
        self.baseline = baseline
        self.temperature = temperature
        self.max_length = max_length
        self.dropout = self.search_dropout = dropout

    def options(self) -> dict[str, object]:
        """The constructor's arguments."""
        return {
            "candidates": self.n_candidates,
            "baseline": self.baseline,
            "temperature": self.temperature,
            "max_length": self.max_length,
            "dropout": self.dropout,
        }

    def candidates(self, captioner: Captioner, memory: Memory, generator: torch.Generator) -> Candidates:
        """Samples, and behind them the greedy caption where it is the baseline."""
        from trainers.decoding import greedy, sample

        drawn = sample(
            captioner,
            memory,
            candidates=self.n_candidates,
            temperature=self.temperature,
            max_length=self.max_length,
            generator=generator,
        )
        tokens = drawn.tokens
        if self.baseline == "greedy":
            was_training = captioner.training
            captioner.eval()
            best = greedy(captioner, memory, max_length=self.max_length)
            captioner.train(was_training)
            tokens = beside(tokens, best.tokens, captioner.vocabulary.pad)
        return Candidates(tokens, target_mask(captioner.vocabulary, tokens), self.n_candidates)

    def loss(
        self, policy: Tensor, reference: Tensor | None, candidates: Candidates, rewards: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean over tokens of minus advantage times log-probability."""
        assert rewards is not None  # noqa: S101  # for the type checker: the loop gives them
        advantage = self.advantage(rewards)
        mask = candidates.learned_mask()
        loss = -(advantage.unsqueeze(-1) * policy * mask).sum() / self.weight(candidates)
        stats = {
            "loss": loss.detach(),
            "advantage": advantage.mean(),
            "advantage_spread": advantage.std(correction=0),
        }
        return loss, stats

    def advantage(self, rewards: Tensor) -> Tensor:
        """[B, candidates] advantages of rewards [B, candidates] (+ the greedy caption's, last)."""
        sampled = rewards[:, : self.n_candidates]
        if self.baseline == "greedy":
            return against_baseline(sampled, rewards[:, self.n_candidates :])
        return leave_one_out(sampled) if self.baseline == "mean" else sampled

    def weight(self, candidates: Candidates) -> Tensor:
        """The number of tokens learned from."""
        return candidates.learned_mask().sum().clamp(min=1).float()


def beside(tokens: Tensor, more: Tensor, pad: int) -> Tensor:
    """Candidates [B, K, L] and [B, K', L'] as [B, K + K', max(L, L')], padded."""
    longest = max(tokens.shape[-1], more.shape[-1])
    rows = [torch.nn.functional.pad(t, (0, longest - t.shape[-1]), value=pad) for t in (tokens, more)]
    return torch.cat(rows, dim=1)
