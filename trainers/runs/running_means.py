"""What the steps between two rows of the log add up to."""

from __future__ import annotations

from collections.abc import Mapping

Sums = dict[str, tuple[float, int]]


class RunningMeans:
    """Sums and counts of what steps tell, by name; part of a checkpoint, so that no row misses a step.

    Attributes:
        sums: per name the sum and the number of steps that told it.
        tokens: learned from since the last row of this process's life, for the rate.
        seconds: that they took, evaluations and checkpoints apart.
    """

    def __init__(self) -> None:
        self.sums: Sums = {}
        self.tokens = 0.0
        self.seconds = 0.0

    def add(self, values: Mapping[str, float], tokens: float, seconds: float) -> None:
        """Count a step in."""
        for name, value in values.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = (total + value, count + 1)
        self.tokens += tokens
        self.seconds += seconds

    def means(self) -> dict[str, float]:
        """Per name the mean over the steps that told it, and ``tokens/s``."""
        found = {name: total / count for name, (total, count) in self.sums.items()}
        return {**found, "tokens/s": self.tokens / max(self.seconds, 1e-9)}

    def clear(self) -> None:
        """Begin the next row."""
        self.sums, self.tokens, self.seconds = {}, 0.0, 0.0
