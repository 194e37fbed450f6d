"""The choice of captions for a gallery: the best, the worst, and those that metrics or systems disagree about."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError, shorten
from capreward.metric_names import matching_name
from capreward.reports.results import Results, label
from capreward.scores import Score

Floats = npt.NDArray[np.float64]

SHOWN = 4  # the decimals of a value on the page


@dataclass(frozen=True)
class Line:
    """One caption of one system.

    Attributes:
        system: The name of the system.
        caption: The text.
        values: The value of each metric.
        ranks: For each metric the share of all other captions that it beats, ties counted half; unknown ranks are
            absent.
    """

    system: str
    caption: str
    values: dict[str, float]
    ranks: dict[str, float]

    @property
    def dispute(self) -> float:
        """The largest difference between the ranks that two metrics give the caption, in [0, 1]."""
        return max(self.ranks.values()) - min(self.ranks.values()) if self.ranks else 0.0


@dataclass(frozen=True)
class Card:
    """One image with all its captions.

    Attributes:
        key: The key of the image.
        lines: The captions of the image.
        note: The reason why it is shown, if the ranking metric alone does not give it.
        marked: The line that the note is about.
    """

    key: str
    lines: tuple[Line, ...]
    note: str = ""
    marked: Line | None = field(default=None, compare=False)


class Choice:
    """Ranks the images of one or several systems.

    The value of an image is the mean over systems of the mean over each system's captions of it (mostly one) of the
    ranking metric. Captions that the metric does not apply to are left out. Images without any value are never shown.

    Args:
        results: The results of one or several systems on the same metrics.
        metric: The ranking metric; None takes the first requested one that has a value per caption and a direction.
        pictured: The images that may be shown; None allows all. The others still count in every rank.

    Raises:
        InputError: There is no such metric, or no metric has a value per caption.
    """

    def __init__(self, results: Results, metric: str | None = None, *, pictured: Container[str] | None = None) -> None:
        self.results = results
        self.columns = [c for c in results.columns if c.per_caption is not None]
        self.metric = _ranking(results, self.columns, metric)
        self.cards = _cards(results, self.columns)
        self.shown = [card for card in self.cards if pictured is None or card.key in pictured]
        self.several = len(results.systems) > 1

    @property
    def directed_metrics(self) -> list[Score]:
        """The metrics with a direction, whose ranks can disagree."""
        return [c for c in self.columns if c.higher_is_better is not None]

    @cached_property
    def ranked(self) -> list[Card]:
        """The images with a value, best first; equal ones keep the order of the captions."""
        known = [(v, card) for card in self.shown if (v := _mean(list(self.per_system(card).values()))) == v]
        sign = 1 if self.metric.higher_is_better is False else -1
        return [card for _, card in sorted(known, key=lambda pair: sign * pair[0])]

    def best(self, count: int) -> list[Card]:
        """Return the best images, best first; at most the upper half, so that no image is also among the worst."""
        return self.ranked[: min(count, (len(self.ranked) + 1) // 2)]

    def worst(self, count: int) -> list[Card]:
        """Return the worst images, worst first; at most the lower half."""
        return self.ranked[::-1][: min(count, len(self.ranked) // 2)]

    def disputed_by_metrics(self, count: int) -> list[Card]:
        """Return images with the captions whose ranks by two metrics differ most, largest difference first."""
        found = []
        for card in self.shown:
            line = max(card.lines, key=lambda line: line.dispute)
            if line.dispute > 0:
                found.append((line.dispute, Card(card.key, card.lines, _metric_note(line), line)))
        return [card for _, card in sorted(found, key=lambda pair: -pair[0])[:count]]

    def disputed_by_systems(self, count: int) -> list[Card]:
        """Return images on which the systems' values of the ranking metric differ most, largest difference first."""
        found = []
        for card in self.shown:
            values = {name: v for name, v in self.per_system(card).items() if v == v}
            if len(values) > 1 and (spread := max(values.values()) - min(values.values())) > 0:
                high, low = max(values, key=values.__getitem__), min(values, key=values.__getitem__)
                note = f"{label(self.metric.name)}: {high} {values[high]:.4f}, {low} {values[low]:.4f}"
                found.append((spread, Card(card.key, card.lines, note)))
        return [card for _, card in sorted(found, key=lambda pair: -pair[0])[:count]]

    def per_system(self, card: Card) -> dict[str, float]:
        """Return each system's value of the ranking metric on an image; NaN where the metric does not apply."""
        names = dict.fromkeys(line.system for line in card.lines)
        return {n: _mean([x.values[self.metric.name] for x in card.lines if x.system == n]) for n in names}


def percentile_ranks(values: Floats, *, higher_is_better: bool = True) -> Floats:
    """Return for each value the share of the other values that are worse, ties counted half; NaN stays NaN.

    Values that are equal as the page shows them, to four decimals, are ties: smoothing gives captions without any match
    values of about 1e-9, whose order means nothing.

    Args:
        values: The values, [N].
        higher_is_better: Whether a higher value is better.

    Returns:
        The ranks [N] in [0, 1]; the single best value has 1. All are NaN if fewer than two values are known.
    """
    ranks = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    if len(known) < 2:
        return ranks
    found = np.round(values[known], SHOWN) * (1 if higher_is_better else -1)
    ordered = np.sort(found)
    below, upto = np.searchsorted(ordered, found, "left"), np.searchsorted(ordered, found, "right")
    ranks[known] = (below + (upto - below - 1) / 2) / (len(known) - 1)
    return ranks


def percent(share: float) -> str:
    """Return whole per cent, rounded down, so that only what beats all others has 100%."""
    return f"{int(100 * share + 1e-9)}%"


def _ranking(results: Results, columns: Sequence[Score], metric: str | None) -> Score:
    if metric is not None:
        names = [c.name for c in columns]
        name = matching_name(metric, names)
        if name is None:
            raise InputError(f"no metric {metric!r} with a value per caption; there are {shorten(names, 20) or 'none'}")
        return columns[names.index(name)]
    for score in results.systems[0].scores.values():
        if score.per_caption is not None and score.higher_is_better is not None:
            name = list(score.parts)[score.column] if score.family else score.name  # a family stands for one member
            return next(c for c in columns if c.name == name)
    if not columns:
        raise InputError(
            "a gallery needs a metric with a value per caption, such as cider or clips; none was asked for"
        )
    return columns[0]


def _cards(results: Results, columns: Sequence[Score]) -> list[Card]:
    """Return every image in order of appearance, with its captions by all systems."""
    per_system = [[s.scores[c.name].per_caption for c in columns] for s in results.systems]
    counts = [len(s.scores.captions) for s in results.systems]
    ends = np.cumsum([0, *counts])
    pooled = {
        c.name: np.concatenate([_values_or_nan(found[i], n) for found, n in zip(per_system, counts, strict=True)])
        for i, c in enumerate(columns)
    }
    ranks = {
        c.name: percentile_ranks(pooled[c.name], higher_is_better=c.higher_is_better)
        for c in columns
        if c.higher_is_better is not None
    }
    lines: dict[str, list[Line]] = {}
    for system, start in zip(results.systems, ends.tolist(), strict=False):
        rows = zip(system.scores.caption_keys, system.scores.captions, strict=True)
        for i, (key, caption) in enumerate(rows, start=start):
            values = {name: float(v[i]) for name, v in pooled.items()}
            known = {name: float(r[i]) for name, r in ranks.items() if r[i] == r[i]}
            lines.setdefault(key, []).append(Line(system.name, caption, values, known))
    return [Card(key, tuple(found)) for key, found in lines.items()]


def _values_or_nan(values: Floats | None, count: int) -> Floats:
    return np.full(count, np.nan) if values is None else np.asarray(values, dtype=np.float64)


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if v == v]
    return sum(known) / len(known) if known else float("nan")


def _metric_note(line: Line) -> str:
    high, low = max(line.ranks, key=line.ranks.__getitem__), min(line.ranks, key=line.ranks.__getitem__)
    first, second = percent(line.ranks[high]), percent(line.ranks[low])
    return f"{label(high)} puts it above {first} of the captions, {label(low)} above {second}"
