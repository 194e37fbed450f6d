"""Figures of a classifier of two classes, rightly named."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def binary_figures(scores: Tensor, positive: Tensor, threshold: float = 0.0) -> dict[str, float]:
    """Accuracy, precision, recall, F1 and the area under the ROC curve.

    Precision is of what was called positive the share that is, recall of what is positive the share that was called
    so; the original prints them under each other's names (clipreward.md 6.5).

    Args:
        scores: [N] on the CPU, higher for what is held to be positive.
        positive: bool [N], what is.
        threshold: scores above it call positive.

    Returns:
        Shares in [0, 1]; NaN where nothing was called, or is, of the class that a figure divides by.
    """
    from capreward.stats.auc import area

    called = scores > threshold
    hits = int((called & positive).sum())
    both = bool(positive.any() and (~positive).any())
    missed, wrong = int((~called & positive).sum()), int((called & ~positive).sum())
    return {
        "accuracy": _share(int((called == positive).sum()), len(scores)),
        "precision": _share(hits, hits + wrong),
        "recall": _share(hits, hits + missed),
        "f1": _share(2 * hits, 2 * hits + missed + wrong),
        "auc": area(scores[positive].numpy(), scores[~positive].numpy()) if both else float("nan"),
    }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
