"""The ``dico`` optimizer: the best candidate of an image against its others, weighed by how much worse they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from capreward.option_checks import check_choice, check_flag, check_range
from trainers.captioners.vocabulary import target_mask
from trainers.optimizers.advantages import spread_normalised
from trainers.optimizers.base import CandidateTokens, Optimizer

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.captioners.base import Captioner, Memory

SEARCHES = ("beam", "sample", "diverse")
SPREADS = ("none", "image")


class DiCO(Optimizer):
    """Direct CLIP-based Optimization (Moratelli et al., BMVC 2024; dico.md 1.2).

    The loss is the mean over images of ``-log sigmoid(beta * (log pi/ref (winner) - sum_i gamma_i log pi/ref
    (loser_i)))``. The winner has the highest reward of the K candidates (the first of equal ones), and ``gamma =
    softmax(tau * (r_winner - r_loser))`` over the K - 1 losers, so that the worst weighs most. Log-probabilities are
    sums over tokens, end token included, in float32 (the published code adds in float16).

    Args:
        beta: The factor of the log-ratios.
        tau: The inverse temperature of gamma. Rewards enter as they are: 300 suits twice a cosine (PAC-S, CLIP-S). For
            other scales change it, or let ``spread`` remove the scale.
        candidates: The number K of captions per image.
        search: ``beam`` (all K hypotheses of a beam search, as published), ``sample`` or ``diverse`` (beam search in K
            groups).
        spread: ``image`` divides each image's rewards by their standard deviation before ``tau`` (then about 1 to 5).
        temperature: The temperature of the sampling.
        max_length: The greatest number of tokens of a candidate, the begin token included.
        dropout: Whether dropout is on in the policy's pass, as published. Without it, the loss starts at ln 2 and
            log-ratios at 0.
        search_dropout: Whether dropout is on while candidates are searched, as published.
    """

    name = "dico"
    needs_reference = True

    def __init__(
        self,
        beta: float = 0.2,
        tau: float = 300.0,
        candidates: int = 5,
        search: str = "beam",
        spread: str = "none",
        temperature: float = 1.0,
        max_length: int = 30,
        dropout: bool = True,
        search_dropout: bool = True,
    ) -> None:
        check_range("beta", beta, 1e-6)
        check_range("tau", tau, 0)
        check_range("candidates", candidates, 2, whole=True)
        check_choice("search", search, SEARCHES)
        check_choice("spread", spread, SPREADS)
        check_range("temperature", temperature, 0.01)
        check_range("max_length", max_length, 2, whole=True)
        check_flag("dropout", dropout)
        check_flag("search_dropout", search_dropout)
        self.beta = beta
        self.tau = tau
        self.candidates = candidates
        self.search = search
        self.spread = spread
        self.temperature = temperature
        self.max_length = max_length
        self.dropout = dropout
        self.search_dropout = search_dropout

    def draw_candidates(self, captioner: Captioner, memory: Memory, generator: torch.Generator) -> CandidateTokens:
        """Search or sample K captions per image; those of a beam search are best first."""
        from trainers.decoding import beam_search, diverse_beam_search, sample

        count, longest = self.candidates, self.max_length
        if self.search == "sample":
            decoded = sample(
                captioner,
                memory,
                candidates=count,
                temperature=self.temperature,
                max_length=longest,
                generator=generator,
            )
        elif self.search == "diverse":
            decoded = diverse_beam_search(
                captioner, memory, beams=count, groups=count, candidates=count, max_length=longest
            )
        else:
            decoded = beam_search(captioner, memory, beams=count, candidates=count, max_length=longest)
        return CandidateTokens(decoded.tokens, target_mask(captioner.vocabulary, decoded.tokens), count)

    def loss(
        self, policy: Tensor, reference: Tensor | None, candidates: CandidateTokens, rewards: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the mean over images; ``chosen`` and ``rejected`` are the implicit rewards of winner and losers."""
        assert reference is not None and rewards is not None  # noqa: S101, PT018  # for the type checker
        winner, gamma = self.weights(rewards)
        ratio = policy.sum(-1) - reference.sum(-1)
        chosen = self.beta * ratio.gather(1, winner.unsqueeze(1)).squeeze(1)
        rejected = self.beta * (gamma * ratio).sum(-1)
        margin = chosen - rejected
        loss = -functional.logsigmoid(margin).mean()
        stats = {
            "loss": loss.detach(),
            "chosen": chosen.detach().mean(),
            "rejected": rejected.detach().mean(),
            "accuracy": (margin.detach() > 0).float().mean(),
            "reward_gap": (rewards.max(-1).values - rewards.min(-1).values).mean(),
        }
        return loss, stats

    def weights(self, rewards: Tensor) -> tuple[Tensor, Tensor]:
        """Return the winners int64 [B] and gamma [B, K] (dico.md 1.2, steps 7, 8).

        Gamma is 0 for the winner, and its row adds up to 1.
        """
        winner = rewards.argmax(dim=-1)
        scaled = spread_normalised(rewards) if self.spread == "image" else rewards
        gap = scaled.gather(1, winner.unsqueeze(1)) - scaled
        logits = (self.tau * gap).scatter(1, winner.unsqueeze(1), float("-inf"))
        return winner, torch.softmax(logits, dim=-1)

    def weight(self, candidates: CandidateTokens) -> Tensor:
        """Return the number of images."""
        return torch.tensor(float(len(candidates.tokens)), device=candidates.tokens.device)
