"""The ``scst`` optimizer: self-critical sequence training, REINFORCE on sampled captions against a baseline."""

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
    """Self-critical training with the loss ``-sum(m * (r - baseline) * log p) / sum(m)`` (Rennie et al. 2017).

    It follows CLIP-Caption-Reward (clipreward.md 5): one mean over all tokens of the batch, so that long captions weigh
    more; end tokens count; rewards are not whitened. Log-probabilities come from a second pass over the sampled
    captions rather than from the sampling itself; without dropout, the default, both are the same numbers.

    Args:
        candidates: The number of sampled captions per image.
        baseline: ``greedy``, the reward of the greedily decoded caption; ``mean``, the mean of the image's other
            samples; or ``none``.
        temperature: The temperature of the sampling.
        max_length: The greatest number of tokens of a sampled caption, the begin token included.
        dropout: Whether dropout is on, in the sampling and in the pass that learns.
        entropy_weight: The weight of the policy's entropy, the mean over a sample's tokens (nats), which is added to
            its reward. It is taken as a number and not differentiated; see
            :func:`trainers.decoding.entropy.mean_entropies`. A greedy baseline has no such term and subtracts nothing
            of it. The mean of the other samples subtracts their entropy, so that samples gain by a higher entropy than
            the others of their image.
        self_cider_weight: The weight of the self-CIDEr of an image's samples, which is added to the advantage of each
            of them. In the reward, the mean of the other samples would cancel it, because they have the same value; so
            it is added after every baseline. It makes the samples of images with varied samples likelier, and does not
            distinguish the samples of one image.
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
        """Sample captions; the greedy caption follows the samples if it is the baseline."""
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
        """Compute the mean over tokens of minus advantage times log-probability."""
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
        """Return the advantages [B, candidates] of rewards [B, candidates].

        With a greedy baseline, the reward of the greedy caption follows as a last column.

        Args:
            rewards: The rewards of the captions.
            candidates: The captions, whose entropy and diversity count if they have a weight.
        """
        sampled = rewards[:, : self.candidates]
        if candidates is not None and candidates.entropy is not None:
            sampled = sampled + self.entropy_weight * candidates.entropy.to(sampled)
        if self.baseline == "greedy":
            advantage = against_baseline(sampled, rewards[:, self.candidates :])
        else:
            advantage = leave_one_out(sampled) if self.baseline == "mean" else sampled
        if candidates is not None and candidates.diversity is not None:
            advantage = advantage + self.self_cider_weight * candidates.diversity.to(sampled).unsqueeze(1)
        return advantage

    def weight(self, candidates: CandidateTokens) -> Tensor:
        """Return the number of tokens learned from."""
        return candidates.learned_mask().sum().clamp(min=1).float()


def beside(tokens: Tensor, more: Tensor, pad: int) -> Tensor:
    """Join candidates [B, K, L] and [B, K', L'] to [B, K + K', max(L, L')], padded."""
    longest = max(tokens.shape[-1], more.shape[-1])
    rows = [torch.nn.functional.pad(t, (0, longest - t.shape[-1]), value=pad) for t in (tokens, more)]
    return torch.cat(rows, dim=1)
