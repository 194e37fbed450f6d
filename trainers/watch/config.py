"""The section of a configuration about what watches the reward."""

from __future__ import annotations

from dataclasses import dataclass

from capreward.option_types import Flag, Section, Text, WholeFromOne

AUTO = "auto"


@dataclass(frozen=True)
class DiagnosticsConfig(Section):
    """What watches whether a reward is being gamed; nothing of it is learned from.

    Attributes:
        enabled: If this is true, every run that learns from a reward is watched. It is true by default.
        judge: This is an evaluator that the reward is not made of, which watches the reward. With ``auto`` it is the
            held-out judge of scenes, and there is none for other data. With null there is none.
        grammar: This is an evaluator of grammaticality. With ``auto`` it is ``grammar``, where its weights are found.
            With null there is none.
        novelty: If this is true, captions are compared with the training captions. It is true by default.
        novelty_items: So many training items, evenly spaced, are counted for the novelty, at least 1. By default all
            are counted.
        every: This is the number of steps between diagnoses of the candidates, at least 1.
        images: The candidates of at most so many images of a step are diagnosed, at least 1.
    """

    enabled: Flag = True
    judge: Text | None = AUTO
    grammar: Text | None = AUTO
    novelty: Flag = True
    novelty_items: WholeFromOne | None = None
    every: WholeFromOne = 10
    images: WholeFromOne = 16
