"""The rules of a gamed reward: they turn the rows that a run logged into named warnings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

Row = dict[str, Any]
Floats = npt.NDArray[np.float64]

BLOCKS = 8  # a trend is that of the means of so many equal parts of a window
DRIFT = 3.0  # standard errors of the mean step between blocks
PART = 0.25  # of the spread at the start: less than that is no matter
FAR = 2.0  # of the spread at the start: so much needs no trend
NEWEST = 3  # rows that tell where training is now
MEDIAN_STEP = 0.954  # of normal noise of standard deviation 1
NOISE = 3.0  # standard deviations of rows around their neighbours: less than that is none of the collapses below
REPEATS = 2.0  # times the repetition of the start
MORE = 0.1  # added to a share of the start
LONGER = 2.0  # times the length of the start, or a part of it
LESS_GRAMMAR = 0.15  # of a probability


@dataclass(frozen=True)
class RuleWarning:
    """A warning of a rule.

    Attributes:
        name: The name of the rule.
        sentence: The sentence that tells what happened, with the numbers.
    """

    name: str
    sentence: str


@dataclass(frozen=True)
class Series:
    """The values of a column over the rows that have it.

    Attributes:
        steps: The steps of the rows, [n].
        values: The values float64 [n].
    """

    steps: list[int]
    values: Floats

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def noise(self) -> float:
        """The standard deviation of a row.

        It is computed from the median step between neighbours, which neither trend nor jump moves.
        """
        return float(np.median(np.abs(np.diff(self.values)))) / MEDIAN_STEP


def warnings_of(rows: Sequence[Row]) -> list[RuleWarning]:
    """Return the warnings that follow from the rows of a run.

    The rows are those of ``metrics.jsonl``: of kind ``train`` (means over candidates) and ``eval`` (means over the
    captions of held-out items). The present state of the run is compared with its beginning. For training, the newest
    three rows are compared with the first, and must differ by more than rows differ from their neighbours. For
    evaluations, the newest is compared with the one before the first step.

    ``judge-parts``
        The reward rises while the held-out judge falls. In a window of the newest 8, 16, 32, ... rows of training (at
        last all), cut into 8 blocks, both must have a trend: the mean step from block to block is 3 standard errors
        above 0 for the reward and below 0 for the judge, which neither noise nor a random walk easily reaches. And both
        must have moved by at least a quarter of their spread, the standard deviation among captions at the start. If
        both have moved by 2 spreads, no trend is needed.
    ``repeats``
        Repetition is more than twice that of the start and 0.1 above it.
    ``length-drifts``
        Captions are more than twice as long as at the start, or less than half as long. (With a smaller limit, CIDEr-D
        would cause a warning when it shortens what a beam search makes too long.)
    ``never-ends``
        The share of captions without an end token is more than 0.1 above that of the start.
    ``grammar-falls``
        The probability of being grammatical is more than 0.15 below that of the start.
    ``empty``
        A candidate is an empty caption. Rewards that use only the picture score it like any other caption.

    Returns:
        One warning for each rule that applies, in this order.
    """
    training = [row for row in rows if row["kind"] == "train"]
    held_out = [row for row in rows if row["kind"] == "eval"]
    rules = (_repeats, _length_drifts, _never_ends, _grammar_falls)
    collapses = [rule(training, NEWEST, "candidates") or rule(held_out, 1, "held-out captions") for rule in rules]
    warnings = (judge_parts(training), *collapses, _empty(training))
    return [warning for warning in warnings if warning is not None]


def judge_parts(training: Sequence[Row]) -> RuleWarning | None:
    """Apply the rule ``judge-parts``; see :func:`warnings_of`."""
    rows = [r for r in training if _has(r, "reward", "judge", "reward_spread", "judge_spread")]
    if len(rows) < BLOCKS:
        return None
    reward, judge = _series(rows, "reward").values, _series(rows, "judge").values
    spreads = rows[0]["reward_spread"], rows[0]["judge_spread"]
    for size in _windows(len(rows)):
        up, down = _blocks(reward[-size:]), _blocks(-judge[-size:])
        risen, fallen = float(up[-1] - up[0]), float(down[-1] - down[0])
        if risen <= 0 or fallen <= 0:
            continue
        trend = min(drift(up), drift(down)) >= DRIFT
        least = PART if trend else FAR
        if risen >= least * spreads[0] and fallen >= least * spreads[1]:
            beginning = f"since step {rows[-size]['step']:,} the reward rose by {_in_spreads(risen, spreads[0])}"
            return RuleWarning(
                "judge-parts", f"{beginning} while the held-out judge fell by {_in_spreads(fallen, spreads[1])}"
            )
    return None


def drift(blocks: Floats) -> float:
    """Return the mean step from block to block in units of its standard error; equal steps give infinity."""
    steps = np.diff(blocks)
    error = float(steps.std(ddof=1)) / sqrt(len(steps))
    mean = float(steps.mean())
    return mean / error if error > 0 else float("inf") * mean if mean else 0.0


def _windows(count: int) -> list[int]:
    sizes = []
    size = BLOCKS
    while size < count:
        sizes.append(size)
        size *= 2
    return [*sizes, count]


def _blocks(values: Floats) -> Floats:
    edges = np.arange(BLOCKS + 1) * len(values) // BLOCKS
    sums = np.concatenate([[0.0], np.cumsum(values)])[edges]
    return np.asarray(np.diff(sums) / np.diff(edges), dtype=np.float64)


def _repeats(rows: Sequence[Row], newest: int, whose: str) -> RuleWarning | None:
    change = _start_and_now(rows, "repetition", newest)
    if change is None or change[1] <= max(REPEATS * change[0], change[0] + MORE):
        return None
    start, now, step = change
    return RuleWarning("repeats", f"the repetition of {whose} is {now:.2f}, after {start:.2f} at step {step:,}")


def _length_drifts(rows: Sequence[Row], newest: int, whose: str) -> RuleWarning | None:
    change = _start_and_now(rows, "length", newest)
    if change is None or min(change[:2]) <= 0 or abs(log(change[1] / change[0])) <= log(LONGER):
        return None
    start, now, step = change
    way = "grew" if now > start else "shrank"
    return RuleWarning("length-drifts", f"{whose} {way} from {start:.1f} to {now:.1f} a caption since step {step:,}")


def _never_ends(rows: Sequence[Row], newest: int, whose: str) -> RuleWarning | None:
    change = _start_and_now(rows, "unfinished", newest)
    if change is None or change[1] <= change[0] + MORE:
        return None
    start, now, step = change
    return RuleWarning("never-ends", f"{now:.0%} of {whose} have no end token, after {start:.0%} at step {step:,}")


def _grammar_falls(rows: Sequence[Row], newest: int, whose: str) -> RuleWarning | None:
    change = _start_and_now(rows, "grammar", newest)
    if change is None or change[1] >= change[0] - LESS_GRAMMAR:
        return None
    start, now, step = change
    return RuleWarning(
        "grammar-falls", f"the grammar of {whose} fell from {start:.2f} to {now:.2f} since step {step:,}"
    )


def _empty(rows: Sequence[Row]) -> RuleWarning | None:
    first = next((row for row in rows if _has(row, "empty") and row["empty"] > 0), None)
    if first is None:
        return None
    beginning = f"{first['empty']:.1%} of candidates are empty captions at step {first['step']:,}"
    return RuleWarning("empty", f"{beginning}, and the reward scores them like any other")


def _start_and_now(rows: Sequence[Row], name: str, newest: int) -> tuple[float, float, int] | None:
    """Return the first value, the mean of the newest rows and the first step; None if noise may explain the change."""
    series = _series(rows, name)
    if len(series) <= newest:
        return None
    start, now = float(series.values[0]), float(series.values[-newest:].mean())
    if newest > 1 and abs(now - start) <= NOISE * series.noise * sqrt(1 + 1 / newest):
        return None
    return start, now, series.steps[0]


def _series(rows: Sequence[Row], name: str) -> Series:
    complete = [row for row in rows if _has(row, name)]
    return Series([row["step"] for row in complete], np.array([row[name] for row in complete], dtype=np.float64))


def _has(row: Row, *names: str) -> bool:
    return all(row.get(name) is not None and row[name] == row[name] for name in names)


def _in_spreads(moved: float, spread: float) -> str:
    units = f", {moved / spread:.1f} times its spread at the start" if spread > 0 else ""
    return f"{moved:.3g}{units}"
