"""Line charts: the places of axes, ticks, lines and names, which ``templates/chart.svg`` draws.

The places are computed here, because a name must not cover another one and an axis must hold all points.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

WIDTH, HEIGHT = 360, 220  # of the drawing; the page scales it
LEFT, TOP, BOTTOM = 46, 10, 36
COLOURS = 6  # classes run0 ... run5 of the style sheet; further runs are dashed
LONGEST_NAME = 14  # characters of a name beside its line
LETTER = 6.4  # pixels of a character there
LINE = 13  # pixels between two names
FEW = 40  # points that are marked one by one


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        name: The name of the run.
        number: The number of the run among all runs, which selects its colour.
        xs: The x values [N], ascending.
        ys: The y values [N].
        marked: Whether each point is shown, as for evaluations, which are few and far between.
        dashed: Whether the line is drawn as the second quantity of a run.
    """

    name: str
    number: int
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    marked: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class Axis:
    """An axis, which maps a range of values to a range of pixels.

    Attributes:
        low: The value at ``start``.
        high: The value at ``stop``.
        start: The first pixel.
        stop: The last pixel.
        step: The value between two ticks.
    """

    low: float
    high: float
    start: float
    stop: float
    step: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Return pixel and text of each multiple of the step inside the range."""
        first = math.ceil(self.low / self.step - 1e-9)
        last = math.floor(self.high / self.step + 1e-9)
        values = [n * self.step for n in range(first, last + 1)]
        return [(self(value), short_number(value, self.step)) for value in values]


@dataclass(frozen=True)
class Line:
    """A curve in the drawing.

    Attributes:
        classes: The style classes of the run's colour.
        dashed: Whether the line is drawn as the second quantity of a run.
        points: The points in pixels.
        dotted: Whether each point is shown.
        name: The name at the end of the line.
        end: The height of the name, in pixels.
    """

    classes: str
    dashed: bool
    points: tuple[tuple[float, float], ...]
    dotted: bool
    name: str
    end: float


@dataclass(frozen=True)
class LineChart:
    """The values of ``chart.svg``: one or more curves, each of one or more points.

    Attributes:
        name: The name of the chart, for its ids.
        title: The title, for people who do not see the chart.
        x_label: The label below the axis.
        curves: The curves, each with points.
        labelled: Whether each run's name is written at the end of its line.
    """

    name: str
    title: str
    x_label: str
    curves: Sequence[Curve]
    labelled: bool = True

    @property
    def size(self) -> tuple[int, int]:
        """The width and the height of the drawing."""
        return WIDTH, HEIGHT

    @property
    def description(self) -> str:
        """The chart in words, for people who do not see it."""
        return "; ".join(_describe_curve(curve, self.x_label) for curve in self.curves)

    @cached_property
    def axes(self) -> tuple[Axis, Axis]:
        """The horizontal and the vertical axis."""
        longest = max(len(_short_name(curve.name)) for curve in self.curves)
        return axes_of(self.curves, 12 + (LETTER * longest if self.labelled else 4))

    @property
    def lines(self) -> list[Line]:
        """The lines, one for each curve."""
        x, y = self.axes
        ends = spread_labels([y(curve.ys[-1]) for curve in self.curves], TOP + 4, HEIGHT - BOTTOM)
        lines = []
        for curve, end in zip(self.curves, ends, strict=True):
            points = tuple((x(a), y(b)) for a, b in zip(curve.xs, curve.ys, strict=True))
            dotted = len(points) == 1 or (curve.marked and len(points) <= FEW)
            lines.append(Line(colour(curve.number), curve.dashed, points, dotted, _short_name(curve.name), end))
        return lines


def tick_step(span: float, most: int = 5) -> float:
    """Return the smallest of 1, 2, 2.5 and 5 times a power of ten that cuts ``span`` into at most ``most`` parts."""
    power = 10.0 ** math.floor(math.log10(span / most))
    return next(f * power for f in (1.0, 2.0, 2.5, 5.0, 10.0) if f * power * most >= span * (1 - 1e-9))


def short_number(value: float, step: float = 0.0) -> str:
    """Format a number as ``3.2k``, ``1.5M`` or ``0.25``, with as many decimals as a step between ticks needs."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if max(abs(value), step) >= size:
            return f"{value / size:.2f}".rstrip("0").rstrip(".") + letter if value else "0"
    if step == 0:
        return f"{value:.4g}"
    decimals = next((d for d in range(7) if abs(step * 10**d - round(step * 10**d)) < 1e-6), 7)
    return f"{value if abs(value) > step / 1e6 else 0.0:.{decimals}f}".replace("-", "−")


def axes_of(curves: Sequence[Curve], right: float) -> tuple[Axis, Axis]:
    """Return a horizontal and a vertical axis that hold all points, the vertical one from tick to tick."""
    xs = [x for curve in curves for x in curve.xs]
    ys = [y for curve in curves for y in curve.ys]
    low, high = min(ys), max(ys)
    if high - low < 1e-12 * max(1.0, abs(high)):
        margin = abs(high) / 2 or 1.0
        low, high = low - margin, high + margin
    step = tick_step(high - low)
    low, high = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
    first, last = min(0.0, *xs), max(xs)
    last = last if last > first else first + 1.0
    horizontal = Axis(first, last, LEFT, WIDTH - right, tick_step(last - first, 4))
    return horizontal, Axis(low, high, HEIGHT - BOTTOM, TOP, step)


def spread_labels(places: Sequence[float], low: float, high: float, gap: float = LINE) -> list[float]:
    """Move labels apart to ``gap`` pixels inside a range, by one sweep from above and one from below."""
    order = sorted(range(len(places)), key=places.__getitem__)
    spread = [min(max(place, low), high) for place in places]
    for before, at in itertools.pairwise(order):
        spread[at] = max(spread[at], spread[before] + gap)
    limit = high
    for at in reversed(order):
        spread[at] = min(spread[at], limit)
        limit = spread[at] - gap
    return spread


def colour(number: int) -> str:
    """Return the style classes of a run's colour."""
    return f"run{number % COLOURS}" + (" dashed" if number >= COLOURS else "")


def _describe_curve(curve: Curve, x_label: str) -> str:
    first, last = f"{curve.ys[0]:.4g}", f"{curve.ys[-1]:.4g}"
    return f"{curve.name}: from {first} at {curve.xs[0]:,.0f} to {last} at {curve.xs[-1]:,.0f} {x_label}"


def _short_name(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…"
