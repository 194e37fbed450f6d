"""The curves of a run's ``metrics.jsonl``, over the images seen."""

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

SPREAD_COLUMNS = ("reward", "judge", "reward_spread", "judge_spread")

Row = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """One chart, which shows the same quantity of several runs.

    Attributes:
        title: The title of the chart.
        explanation: Half a sentence that explains the quantity.
        curves: The curves of the runs that have the quantity.
    """

    title: str
    explanation: str
    curves: tuple[Curve, ...]


def panels_of(sources: Sequence[NamedRun]) -> list[Panel]:
    """Return the panels of runs: rewards, metrics of held-out items, KL, length, repetition, loss.

    Args:
        sources: The runs. Captioners without a run, runs that have not begun, and runs that others of them started from
            have no curves. A quantity that is always 0 has no panel.
    """
    runs = [(number, source, _rows(source)) for number, source in enumerate(sources) if not _is_start(source, sources)]
    runs = [run for run in runs if run[2]]
    panels = _grouped(runs, "reward", _reward, "Reward: {}", "of the training candidates, mean")
    panels.append(_reward_and_judge(runs))
    names = dict.fromkeys(n for _, _, rows in runs for row in _kind(rows, "eval") for n in row if n not in NOT_METRICS)
    for name in names:
        title = f"Held out: {WORDS.get(name) or label(name)}"
        panels.append(_panel(runs, "eval", name, title, "on the pictures that the run held out"))
    panels += [
        _panel(runs, "train", "kl", "KL from the start", "nats per caption, from the captioner before the first step"),
        _panel(runs, "train", "length", "Length", "tokens per training candidate"),
        _panel(runs, "train", "repetition", "Repetition ↓", "share of repeated n-grams in training candidates"),
        _panel(runs, "train", "unfinished", "Captions without an end ↓", "share of training candidates"),
        _panel(runs, "train", "grammar", "Grammar", "probability that a training candidate is grammatical, mean"),
        _panel(runs, "train", "novel_phrases", "New phrases", f"share of {WORDS['novel_phrases']}, in candidates"),
    ]
    panels += _grouped(runs, "loss", _optimizer, "Loss of {}", "comparable within one optimizer alone")
    return [panel for panel in panels if any(y != 0 for curve in panel.curves for y in curve.ys)]


def images_per_step(source: NamedRun, rows: Sequence[Row]) -> float:
    """Return the training pictures per update, from the rows, else from the configuration for one process."""
    for row in reversed(rows):
        if row["kind"] == "train" and row.get("images") and row["step"]:
            return float(row["images"]) / float(row["step"])
    if source.config is None:
        return 1.0
    return float(source.config.training.batch_size * source.config.training.accumulation)


def images_seen(source: NamedRun) -> float:
    """Return the training pictures of the whole run, counted again in each epoch; 0 for a run that has not begun."""
    rows = _rows(source)
    return max((row["step"] for row in rows), default=0) * images_per_step(source, rows)


def thinned(values: Sequence[float], most: int = MOST_POINTS) -> list[float]:
    """Return at most ``most`` means of equally many consecutive values; the last group may be smaller."""
    size = math.ceil(len(values) / most)
    groups = [values[start : start + size] for start in range(0, len(values), max(size, 1))]
    return [sum(group) / len(group) for group in groups]


def _is_start(source: NamedRun, sources: Sequence[NamedRun]) -> bool:
    """Return whether another run started from this one: then its pictures do not count from the same zero."""
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


def _panel(
    runs: Sequence[tuple[int, NamedRun, list[Row]]], kind: str, name: str, title: str, explanation: str
) -> Panel:
    curves = [_curve(number, source, rows, kind, name) for number, source, rows in runs]
    return Panel(title, explanation, tuple(curve for curve in curves if curve is not None))


def _reward_and_judge(runs: Sequence[tuple[int, NamedRun, list[Row]]]) -> Panel:
    """Return a panel of each run's reward and held-out judge, as changes since the start, in spreads of the start."""
    curves = []
    for number, source, rows in runs:
        complete = [r for r in _kind(rows, "train") if all(r.get(n) is not None for n in SPREAD_COLUMNS)]
        if not complete or not all(complete[0][f"{name}_spread"] > 0 for name in ("reward", "judge")):
            continue
        for name in ("reward", "judge"):
            start, spread = complete[0][name], complete[0][f"{name}_spread"]
            changes = [{**row, name: (row[name] - start) / spread} for row in complete]
            curve = _curve(number, source, changes, "train", name)
            if curve is not None:
                curves.append(replace(curve, dashed=name == "judge"))
    explanation = "since the first row, in standard deviations among its captions; dotted: the judge"
    return Panel("Reward and held-out judge", explanation, tuple(curves))


def warnings_in(sources: Sequence[NamedRun]) -> list[tuple[int, NamedRun, list[Row]]]:
    """Return the warnings of each run that has any, with the run's number."""
    warnings = [(number, source, _kind(_rows(source), "warning")) for number, source in enumerate(sources)]
    return [each for each in warnings if each[2]]


def _grouped(
    runs: Sequence[tuple[int, NamedRun, list[Row]]],
    name: str,
    group_of: Callable[[NamedRun], str],
    title: str,
    explanation: str,
) -> list[Panel]:
    """Return a panel for each group of runs, because different groups cannot share an axis."""
    groups = dict.fromkeys(group_of(source) for _, source, _ in runs)
    return [
        _panel([run for run in runs if group_of(run[1]) == group], "train", name, title.format(group), explanation)
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
