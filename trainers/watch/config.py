"""The section of a configuration about what watches the reward."""

from __future__ import annotations

from dataclasses import dataclass

from capreward.option_checks import check_range

AUTO = "auto"


@dataclass(frozen=True)
class DiagnosticsConfig:
    """What watches whether a reward is being gamed; nothing of it is learned from.

    Attributes:
        enabled: on by default, in every run that learns from a reward.
        judge: an evaluator that the reward is not made of; ``auto``: of scenes its held-out judge, elsewhere none.
        grammar: an evaluator of grammaticality; ``auto``: ``grammar``, where its weights are found.
        novelty: compare with the training captions.
        novelty_items: so many training items are counted for it, evenly spaced; all by default.
        every: steps between diagnoses of the candidates.
        images: of a step whose candidates are diagnosed, at most.
    """

    enabled: bool = True
    judge: str | None = AUTO
    grammar: str | None = AUTO
    novelty: bool = True
    novelty_items: int | None = None
    every: int = 10
    images: int = 16

    def check(self) -> None:
        """Refuse values out of range."""
        check_range("every", self.every, 1, whole=True)
        check_range("images", self.images, 1, whole=True)
        check_range("novelty_items", 1 if self.novelty_items is None else self.novelty_items, 1, whole=True)
