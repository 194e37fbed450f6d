"""``scst``: self-critical sequence training, REINFORCE on sampled captions against a baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from capreward.errors import InputError
from capreward.option_checks import check_choice, check_flag, check_range
from trainers.captioners.vocabulary import target_mask
from trainers.decoding.entropy import mean_entropies
from trainers.optimizers.advantages import against_baseline, leave_one_out
from trainers.optimizers.base import CandidateTokens, Optimizer

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
        entropy_weight: of what is added to a sample's reward for the policy's entropy, the mean over its tokens (nats),
            taken as a number and not differentiated; see :func:`trainers.decoding.entropy.mean_entropies`. A greedy
            baseline has no such term, and subtracts nothing of it; the mean of the other samples subtracts theirs, so
            that samples gain by being less sure than the others of their image.
        self_cider_weight: of what is added for the self-CIDEr of an image's samples, the same for each of them. As part
            of the reward it would be cancelled by the mean of the other samples, which have the same; so it is added
            behind every baseline. It makes the samples of images with varied ones likelier, and tells none of an
            image apart.
    """

    name = "scst"

    def __init__(
        self,
        candidates: int = 5,
        baseline: str = "greedy",
        temperature: float = 1.0,
        max_length: int = 30,
        dropout: bool = False,
        entropy_weight: float = 0.0,
        self_cider_weight: float = 0.0,
    ) -> None:
        check_choice("baseline", baseline, BASELINES)
        check_range("candidates", candidates, 2 if baseline == "mean" else 1, whole=True)
        check_range("temperature", temperature, 0.01)
        check_range("max_length", max_length, 2, whole=True)
        check_flag("dropout", dropout)
        check_range("entropy_weight", entropy_weight, 0)
        check_range("self_cider_weight", self_cider_weight, 0)
        if self_cider_weight and candidates < 2:
            raise InputError("self_cider_weight needs at least 2 candidates per image; found 1")
        self.candidates = candidates
        self.baseline = baseline
        self.temperature = temperature
        self.max_length = max_length
        self.dropout = self.search_dropout = dropout
        self.entropy_weight = entropy_weight
        self.self_cider_weight = self_cider_weight

    def draw_candidates(self, captioner: Captioner, memory: Memory, generator: torch.Generator) -> CandidateTokens:
        """Samples, and behind them the greedy caption where it is the baseline."""
        from trainers.decoding import greedy, sample

        drawn = sample(
            captioner,
            memory,
            candidates=self.candidates,
            temperature=self.temperature,
            max_length=self.max_length,
            generator=generator,
        )
        tokens, entropy = drawn.tokens, None
        if self.entropy_weight:
            entropy = mean_entropies(captioner, memory, tokens)
        if self.baseline == "greedy":
            was_training = captioner.training
            captioner.eval()
            best = greedy(captioner, memory, max_length=self.max_length)
            captioner.train(was_training)
            tokens = beside(tokens, best.tokens, captioner.vocabulary.pad)
        return CandidateTokens(tokens, target_mask(captioner.vocabulary, tokens), self.candidates, entropy)

    def loss(
        self, policy: Tensor, reference: Tensor | None, candidates: CandidateTokens, rewards: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean over tokens of minus advantage times log-probability."""
        assert rewards is not None  # noqa: S101  # for the type checker: the loop gives them
        advantage = self.advantage(rewards, candidates)
        mask = candidates.learned_mask()
        loss = -(advantage.unsqueeze(-1) * policy * mask).sum() / self.weight(candidates)
        stats = {
            "loss": loss.detach(),
            "advantage": advantage.mean(),
            "advantage_spread": advantage.std(correction=0),
        }
        if candidates.entropy is not None:
            stats["entropy"] = candidates.entropy.mean()
        if candidates.diversity is not None:
            stats["self-cider"] = candidates.diversity.mean()
        return loss, stats

    def advantage(self, rewards: Tensor, candidates: CandidateTokens | None = None) -> Tensor:
        """[B, candidates] advantages of rewards [B, candidates] (+ the greedy caption's, last).

        Args:
            rewards: of the captions.
            candidates: the captions, whose entropy and diversity count where they are weighed.
        """
        sampled = rewards[:, : self.candidates]
        if candidates is not None and candidates.entropy is not None:
            sampled = sampled + self.entropy_weight * candidates.entropy.to(sampled)
        if self.baseline == "greedy":
            found = against_baseline(sampled, rewards[:, self.candidates :])
        else:
            found = leave_one_out(sampled) if self.baseline == "mean" else sampled
        if candidates is not None and candidates.diversity is not None:
            found = found + self.self_cider_weight * candidates.diversity.to(sampled).unsqueeze(1)
        return found

    def weight(self, candidates: CandidateTokens) -> Tensor:
        """The number of tokens learned from."""
        return candidates.learned_mask().sum().clamp(min=1).float()


def beside(tokens: Tensor, more: Tensor, pad: int) -> Tensor:
    """Candidates [B, K, L] and [B, K', L'] as [B, K + K', max(L, L')], padded."""
    longest = max(tokens.shape[-1], more.shape[-1])
    rows = [torch.nn.functional.pad(t, (0, longest - t.shape[-1]), value=pad) for t in (tokens, more)]
    return torch.cat(rows, dim=1)
