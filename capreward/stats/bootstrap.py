"""The bootstrap over items from summable statistics, for which no caption is scored a second time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BLOCK = 4_000_000  # drawn indices that are held in memory at a time


class Resampled(Protocol):
    """A number that is computed from sums over items, such as :class:`capreward.scores.Score`."""

    @property
    def name(self) -> str:
        """The name of the number."""
        ...

    @property
    def statistics(self) -> Floats | None:
        """The statistics that are summed, [M, S], one row per item; None if the number is no function of sums."""
        ...

    @property
    def finish(self) -> Callable[[Floats], Floats] | None:
        """The function from sums [..., S] to values [..., C]; None if the number is no function of sums."""
        ...

    @property
    def column(self) -> int:
        """The index of the number among the C values."""
        ...


def resampled_sums(statistics: Floats, *, resamples: int = 1000, seed: int = 12345) -> Floats:
    """Sum the statistics of items drawn with replacement.

    The draws depend only on the number of items, ``resamples`` and ``seed``, so that systems that are scored on the
    same items are resampled in the same way, as paired tests need.

    Args:
        statistics: The statistics, [M, S], one row per item.
        resamples: The number of draws of M items.
        seed: The seed of the random generator.

    Returns:
        The sums, [resamples, S].
    """
    blocks = [weights @ statistics for weights in _draw_counts(len(statistics), resamples, seed)]
    return np.concatenate(blocks) if blocks else np.zeros((0, statistics.shape[1]))


def percentiles(values: Floats, level: float = 0.95) -> tuple[float, float]:
    """Return the interval (low, high) that holds the central share ``level`` of ``values``, [R]."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _draw_counts(items: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield how often each item is drawn, in blocks of rows, [block, M]."""
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
    """Return the percentile bootstrap interval of each score (Efron and Tibshirani 1993, section 13.3).

    Items are drawn once for all scores over the same number of items.

    Args:
        scores: The scores of one system.
        resamples: The number of draws.
        level: The share of the values that lie inside an interval.
        seed: The seed of the random generator.

    Returns:
        The interval (low, high) of each score by its name; None for a score without summable statistics.
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
