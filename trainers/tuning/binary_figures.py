"""The figures of a binary classifier, under their right names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def binary_figures(scores: Tensor, positive: Tensor, threshold: float = 0.0) -> dict[str, float]:
    """Compute accuracy, precision, recall, F1 and the area under the ROC curve.

    Precision is the share of positives among the texts that were called positive, recall the share of the positives
    that were called positive. The original prints them under each other's names (clipreward.md 6.5).

    Args:
        scores: The scores [N] on the CPU; a higher score means more likely positive.
        positive: A bool tensor [N] that is True for positives.
        threshold: A score above it calls positive.

    Returns:
        Shares in [0, 1]; a figure is NaN if it would divide by an empty class.
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
