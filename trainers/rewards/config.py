"""The section of a configuration about what captions are rewarded for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import model_validator

from capreward.errors import InputError
from capreward.option_types import TEXT, Number, Section, Text, WholeFromOne


@dataclass(frozen=True)
class RewardConfig(Section):
    """What captions are rewarded for.

    Attributes:
        expression: This is an expression of evaluators, such as ``2*clips + cider-d``; each of its terms is logged for
            itself. By default there is no reward.
        monitors: These are comma-separated expressions that are logged beside the reward and not learned from. By
            default there are none.
        every: This is the number of steps between the values of the monitors, at least 1.
        low: A reward below this number counts as this number. By default there is no lowest reward.
        high: A reward above this number counts as this number. By default there is no highest reward.
        normalise: With ``batch`` the mean of the rewards of a step is subtracted and their standard deviation divides
            them; with ``running`` both are of all steps so far; with ``none`` rewards stay as they are.
        unbaselined: These are comma-separated terms of the expression that are taken as they are, without a baseline,
            where scst has the greedy baseline alone. CLIP-Caption-Reward's ``use_grammar_baseline: false`` is
            ``grammar`` here: the advantage is ``2 (S(sampled) - S(greedy)) + g(sampled)`` for ``2*clips + grammar``.
            By default every term has the baseline.
    """

    expression: Text | None = None
    monitors: Text | None = None
    every: WholeFromOne = 1
    low: Number | None = None
    high: Number | None = None
    normalise: Annotated[Literal["none", "batch", "running"], TEXT] = "none"
    unbaselined: Text | None = None

    @model_validator(mode="after")
    def check(self) -> RewardConfig:
        """Refuse values that do not go together."""
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise InputError(f"low {self.low:g} must be below high {self.high:g}")
        if self.unbaselined and (self.low is not None or self.high is not None):
            raise InputError(
                "unbaselined terms cannot be told from others once a reward is cut; leave out low and high"
            )
        return self
