"""The running means of what steps log between two rows."""

from __future__ import annotations

from collections.abc import Mapping

Sums = dict[str, tuple[float, int]]


class RunningMeans:
    """Sums and counts of what steps log, by name.

    They are part of a checkpoint, so that no row misses a step.

    Attributes:
        sums: For each name the sum, and the number of steps that logged it.
        tokens: The number of tokens learned from since the last row in this process's life, for the rate.
        seconds: The time that they took, without evaluations and checkpoints.
    """

    def __init__(self) -> None:
        self.sums: Sums = {}
        self.tokens = 0.0
        self.seconds = 0.0

    def add(self, values: Mapping[str, float], tokens: float, seconds: float) -> None:
        """Add the values of a step."""
        for name, value in values.items():
            total, count = self.sums.get(name, (0.0, 0))
            self.sums[name] = (total + value, count + 1)
        self.tokens += tokens
        self.seconds += seconds

    def means(self) -> dict[str, float]:
        """Return the mean of each name over the steps that logged it, and ``tokens/s``."""
        means = {name: total / count for name, (total, count) in self.sums.items()}
        return {**means, "tokens/s": self.tokens / max(self.seconds, 1e-9)}

    def clear(self) -> None:
        """Begin the next row."""
        self.sums, self.tokens, self.seconds = {}, 0.0, 0.0
