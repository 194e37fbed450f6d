"""The section of a configuration about how held-out items are judged while a run learns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from capreward.option_checks import check_range


@dataclass(frozen=True)
class JudgingConfig:
    """When and how held-out items are looked at while a run learns.

    Attributes:
        every: steps between evaluations; one before the first step and one after the last come for free.
        best: the figure that chooses the best weights; of a captioner by default the first of ``metrics``, else the
            reward.
        patience: evaluations without a new best before the run stops; none: never.
        batch_size: images at a time.
    """

    every: int = 100
    best: str | None = None
    patience: int | None = None
    batch_size: int = 64

    def check(self) -> None:
        """Refuse values out of range."""
        for name in ("every", "batch_size"):
            check_range(name, getattr(self, name), 1, whole=True)
        check_range("patience", 1 if self.patience is None else self.patience, 1, whole=True)


@dataclass(frozen=True)
class EvaluationConfig(JudgingConfig):
    """How the captioner is judged on held-out items while it learns.

    Attributes:
        metrics: comma-separated expressions; by default ``cider`` and the reward.
        samples: captions shown and kept of each evaluation.
        beams: of the beam search; by default as a released captioner's authors have it, else 5.
        max_length: tokens of a caption at most, the begin token included; likewise, else 30.
        decoding: further settings of :class:`trainers.decoding.Decoding`, such as ``length_penalty``; likewise.
    """

    metrics: str | None = None
    samples: int = 20
    beams: int | None = None
    max_length: int | None = None
    decoding: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Refuse values out of range."""
        super().check()
        for name, least in (("beams", 1), ("max_length", 2), ("samples", 0)):
            if getattr(self, name) is not None:
                check_range(name, getattr(self, name), least, whole=True)
