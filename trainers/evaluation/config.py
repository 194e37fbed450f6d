"""The section of a configuration about how held-out items are judged while a run learns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import Field

from capreward.option_types import STRICT, WHOLE, Options, Section, Text, WholeFromOne, WholeFromZero


@dataclass(frozen=True)
class JudgingConfig(Section):
    """When and how held-out items are looked at while a run learns.

    Attributes:
        every: This is the number of steps between evaluations, at least 1. The run is evaluated before the first step
            and after the last one in any case.
        best: This is the figure that chooses the best weights. For a captioner it is by default the first of
            ``metrics`` if those are given, and else the reward.
        patience: The run stops after so many evaluations without a new best, at least 1. By default it never stops
            early.
        batch_size: So many images are evaluated at a time, at least 1.
    """

    every: WholeFromOne = 100
    best: Text | None = None
    patience: WholeFromOne | None = None
    batch_size: WholeFromOne = 64


@dataclass(frozen=True)
class EvaluationConfig(JudgingConfig):
    """How the captioner is judged on held-out items while it learns.

    Attributes:
        metrics: These are comma-separated expressions of evaluators, such as ``cider, pacs``. By default they are
            ``cider`` and the reward.
        samples: So many captions of each evaluation are shown and kept.
        beams: This is the number of beams of the search, at least 1. By default it is what the authors of a released
            captioner use, else 5.
        max_length: A caption has at most so many tokens, the begin token included; this is at least 2. By default it
            is what the authors of a released captioner use, else 30.
        decoding: These are further settings of the search, such as ``length_penalty``. By default they are what the
            authors of a released captioner use.
    """

    metrics: Text | None = None
    samples: WholeFromZero = 20
    beams: WholeFromOne | None = None
    max_length: Annotated[int, STRICT, Field(ge=2), WHOLE] | None = None
    decoding: Options = field(default_factory=dict)
