"""What a run's ``metrics.jsonl`` tells, as curves over the images seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.reports.results import label
from trainers.reports.chart import Curve

if TYPE_CHECKING:
    from trainers.runs.named_run import NamedRun

MOST_POINTS = 300  # of a line; more are averaged in groups
NOT_METRICS = frozenset({"step", "kind"})
WORDS = {
    "unfinished": "captions without an end",
    "novel": "captions that no training caption equals",
    "novel_phrases": "four-word phrases that no training caption has",
}

PARTING = ("reward", "judge", "reward_spread", "judge_spread")

Row = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """One chart: the same quantity of several runs.

    Attributes:
        title: of the chart.
        told: what it is, in half a sentence.
        curves: of the runs that have it.
    """

    title: str
    told: str
    curves: tuple[Curve, ...]


def panels_of(sources: Sequence[NamedRun]) -> list[Panel]:
    """The panels of runs: rewards, metrics of held-out items, distance from the start, length, repetition, loss.

    Args:
        sources: those that are no runs, have not begun, or are where others of them started have no curves; what is 0
            throughout has no panel.
    """
    runs = [(number, source, _rows(source)) for number, source in enumerate(sources) if not _is_start(source, sources)]
    runs = [run for run in runs if run[2]]
    found = _grouped(runs, "reward", _reward, "Reward: {}", "of the training candidates, mean")
    found.append(_parting(runs))
    names = dict.fromkeys(n for _, _, rows in runs for row in _kind(rows, "eval") for n in row if n not in NOT_METRICS)
    for name in names:
        title = f"Held out: {WORDS.get(name) or label(name)}"
        found.append(_panel(runs, "eval", name, title, "on the pictures that the run held out"))
    found += [
        _panel(runs, "train", "kl", "KL from the start", "nats per caption, from the captioner before the first step"),
        _panel(runs, "train", "length", "Length", "tokens per training candidate"),
        _panel(runs, "train", "repetition", "Repetition ↓", "share of repeated n-grams in training candidates"),
        _panel(runs, "train", "unfinished", "Captions without an end ↓", "share of training candidates"),
        _panel(runs, "train", "grammar", "Grammar", "probability that a training candidate is grammatical, mean"),
        _panel(runs, "train", "novel_phrases", "New phrases", f"share of {WORDS['novel_phrases']}, in candidates"),
    ]
    found += _grouped(runs, "loss", _optimizer, "Loss of {}", "comparable within one optimizer alone")
    return [panel for panel in found if any(y != 0 for curve in panel.curves for y in curve.ys)]


def images_per_step(source: NamedRun, rows: Sequence[Row]) -> float:
    """Training pictures per update: what the rows tell, else what the configuration says of one process."""
    for row in reversed(rows):
        if row["kind"] == "train" and row.get("images") and row["step"]:
            return float(row["images"]) / float(row["step"])
    if source.config is None:
        return 1.0
    return float(source.config.training.batch_size * source.config.training.accumulation)


def images_seen(source: NamedRun) -> float:
    """Training pictures of the whole run, counted anew in each epoch; 0 of one that has not begun."""
    rows = _rows(source)
    return max((row["step"] for row in rows), default=0) * images_per_step(source, rows)


def thinned(values: Sequence[float], most: int = MOST_POINTS) -> list[float]:
    """At most ``most`` means of equally many consecutive values; the last group may be smaller."""
    size = math.ceil(len(values) / most)
    groups = [values[start : start + size] for start in range(0, len(values), max(size, 1))]
    return [sum(group) / len(group) for group in groups]


def _is_start(source: NamedRun, sources: Sequence[NamedRun]) -> bool:
    """Whether another one of the runs started from this one: its pictures do not count from the same zero."""
    starts = [s.config.captioner.init for s in sources if s.config is not None]
    places = [Path(source.path), *([] if source.run is None else [source.run.path])]
    own = {place.absolute() for place in places}
    return any(start is not None and Path(start).absolute() in own for start in starts)


def _rows(source: NamedRun) -> list[Row]:
    if source.run is None or not source.run.metrics.is_file():
        return []
    return source.run.rows()


def _kind(rows: Sequence[Row], kind: str) -> list[Row]:
    return [row for row in rows if row["kind"] == kind]


def _panel(runs: Sequence[tuple[int, NamedRun, list[Row]]], kind: str, name: str, title: str, told: str) -> Panel:
    curves = [_curve(number, source, rows, kind, name) for number, source, rows in runs]
    return Panel(title, told, tuple(curve for curve in curves if curve is not None))


def _parting(runs: Sequence[tuple[int, NamedRun, list[Row]]]) -> Panel:
    """Reward and held-out judge of each run on one axis, where it logged both: from the start on, in its spreads."""
    curves = []
    for number, source, rows in runs:
        known = [r for r in _kind(rows, "train") if all(r.get(n) is not None for n in PARTING)]
        if not known or not all(known[0][f"{name}_spread"] > 0 for name in ("reward", "judge")):
            continue
        for name in ("reward", "judge"):
            start, spread = known[0][name], known[0][f"{name}_spread"]
            moved = [{**row, name: (row[name] - start) / spread} for row in known]
            curve = _curve(number, source, moved, "train", name)
            if curve is not None:
                curves.append(replace(curve, dashed=name == "judge"))
    told = "since the first row, in standard deviations among its captions; dotted: the judge"
    return Panel("Reward and held-out judge", told, tuple(curves))


def warnings_in(sources: Sequence[NamedRun]) -> list[tuple[int, NamedRun, list[Row]]]:
    """The warnings of each run that has any, with the run's number."""
    found = [(number, source, _kind(_rows(source), "warning")) for number, source in enumerate(sources)]
    return [each for each in found if each[2]]


def _grouped(
    runs: Sequence[tuple[int, NamedRun, list[Row]]],
    name: str,
    group_of: Callable[[NamedRun], str],
    title: str,
    told: str,
) -> list[Panel]:
    """A panel for each kind of run: what differs in kind shares no axis."""
    groups = dict.fromkeys(group_of(source) for _, source, _ in runs)
    return [
        _panel([run for run in runs if group_of(run[1]) == group], "train", name, title.format(group), told)
        for group in groups
    ]


def _reward(source: NamedRun) -> str:
    return (source.config.reward.expression if source.config is not None else None) or "reward"


def _optimizer(source: NamedRun) -> str:
    return str(source.config.optimizer["name"]) if source.config is not None else "the run"


def _curve(number: int, source: NamedRun, rows: Sequence[Row], kind: str, name: str) -> Curve | None:
    per_step = images_per_step(source, rows)
    pairs = [(float(r["step"]) * per_step, r[name]) for r in _kind(rows, kind) if r.get(name) is not None]
    if not pairs:
        return None
    xs, ys = [x for x, _ in pairs], [float(y) for _, y in pairs]
    return Curve(source.name, number, tuple(thinned(xs)), tuple(thinned(ys)), marked=kind == "eval")
