"""The section of a configuration about what captions are rewarded for."""

from __future__ import annotations

from dataclasses import dataclass

from capreward.errors import InputError
from capreward.option_checks import check_choice, check_range

NORMALISATIONS = ("none", "batch", "running")


@dataclass(frozen=True)
class RewardConfig:
    """What captions are rewarded for.

    Attributes:
        expression: of evaluators; its terms are logged each for itself.
        monitors: comma-separated expressions that are logged beside it and not learned from.
        every: steps between the monitors' values.
        low: rewards below it count as it.
        high: rewards above it count as it.
        normalise: ``batch`` (less the mean, divided by the standard deviation of the step's), ``running`` (of all
            steps so far) or ``none``.
        unbaselined: comma-separated terms of the expression that are taken as they are, without a baseline, as
            CLIP-Caption-Reward's ``use_grammar_baseline: false`` has it: ``r = 2 (S(sampled) - S(greedy)) +
            g(sampled)`` of ``2*clips + grammar``. Where scst has the greedy baseline alone.
    """

    expression: str | None = None
    monitors: str | None = None
    every: int = 1
    low: float | None = None
    high: float | None = None
    normalise: str = "none"
    unbaselined: str | None = None

    def check(self) -> None:
        """Refuse values out of range."""
        check_range("every", self.every, 1, whole=True)
        check_choice("normalise", self.normalise, NORMALISATIONS)
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise InputError(f"low {self.low:g} must be below high {self.high:g}")
        if self.unbaselined and (self.low is not None or self.high is not None):
            raise InputError(
                "unbaselined terms cannot be told from others once a reward is cut; leave out low and high"
            )
