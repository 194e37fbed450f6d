"""Bootstrap over items from summable statistics: no caption is scored twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BLOCK = 4_000_000  # drawn indices held at a time


class Resampled(Protocol):
    """A number that is made of sums over items, such as :class:`capreward.scores.Score`."""

    @property
    def name(self) -> str:
        """The name of the number."""
        ...

    @property
    def statistics(self) -> Floats | None:
        """What is summed, [M, S], one row per item; None where the number is no function of sums."""
        ...

    @property
    def finish(self) -> Callable[[Floats], Floats] | None:
        """Turns sums [..., S] into values [..., C]."""
        ...

    @property
    def column(self) -> int:
        """Which of the C values the number is."""
        ...


def resampled_sums(statistics: Floats, *, resamples: int = 1000, seed: int = 12345) -> Floats:
    """Sum the statistics of items drawn with replacement.

    The draws depend on the number of items, ``resamples`` and ``seed`` alone, so that systems scored on the same items
    are resampled alike (what paired tests need).

    Args:
        statistics: [M, S], one row per item.
        resamples: how many draws of M items.
        seed: of the generator.

    Returns:
        [resamples, S] sums.
    """
    blocks = [weights @ statistics for weights in _weights(len(statistics), resamples, seed)]
    return np.concatenate(blocks) if blocks else np.zeros((0, statistics.shape[1]))


def percentiles(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """The central ``level`` of ``values`` [R] as (low, high)."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _weights(items: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each item is drawn, in blocks of rows [block, M]."""
    generator = np.random.default_rng(seed)
    rows = max(1, BLOCK // max(items, 1))
    for start in range(0, resamples, rows):
        block = min(rows, resamples - start)
        drawn = generator.integers(0, items, size=(block, items), dtype=np.int64)
        drawn += np.arange(block, dtype=np.int64)[:, None] * items
        yield np.bincount(drawn.ravel(), minlength=block * items).reshape(block, items).astype(np.float64)


def intervals(
    scores: Sequence[Resampled], *, resamples: int = 1000, level: float = 0.95, seed: int = 12345
) -> dict[str, tuple[float, float] | None]:
    """Percentile bootstrap interval (Efron and Tibshirani 1993, section 13.3) of each score.

    Items are drawn once for all scores over the same number of items.

    Args:
        scores: of one system.
        resamples: how many draws.
        level: share of the values inside an interval.
        seed: of the generator.

    Returns:
        By name (low, high); None for scores without summable statistics.
    """
    sums: dict[int, Floats] = {}
    tables = {id(s.statistics): s.statistics for s in scores if s.statistics is not None}
    for size in set(map(len, tables.values())):
        alike = {key: table for key, table in tables.items() if len(table) == size}
        together = resampled_sums(np.concatenate(list(alike.values()), axis=1), resamples=resamples, seed=seed)
        stops = np.cumsum([table.shape[1] for table in alike.values()])[:-1]
        sums |= dict(zip(alike, np.split(together, stops, axis=1), strict=True))
    found: dict[str, tuple[float, float] | None] = {}
    for s in scores:
        if s.statistics is None or s.finish is None:
            found[s.name] = None
        else:
            found[s.name] = percentiles(s.finish(sums[id(s.statistics)])[..., s.column], level)
    return found
