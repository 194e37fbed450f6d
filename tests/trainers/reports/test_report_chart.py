"""Charts of runs: known data at known places, round ticks, labels apart; curves from ``metrics.jsonl``."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from capreward.reports.html_templates import render
from trainers.comparison.named_captioners import NamedCaptioner
from trainers.reports.chart import (
    BOTTOM,
    HEIGHT,
    LEFT,
    TOP,
    Curve,
    LineChart,
    axes_of,
    colour,
    short_number,
    spread_labels,
    tick_step,
)
from trainers.reports.curves import images_per_step, images_seen, panels_of, thinned
from trainers.runs.config_files import build
from trainers.runs.folder import RunFolder


def chart(*curves, labelled=True):
    drawn = LineChart("c", "Reward <b>", "pictures", curves, labelled)
    return ET.fromstring(render("chart.svg", {"chart": drawn}, package="trainers.reports"))


def test_tick_steps_are_round():
    assert [tick_step(s) for s in (1.0, 0.9, 5.0, 11.0, 26.0, 0.03)] == pytest.approx([0.2, 0.2, 1, 2.5, 10, 0.01])
    for span in (0.0013, 0.7, 3.3, 19.0, 4321.0, 8e7):
        step = tick_step(span)
        assert span / step <= 5 + 1e-9
        assert span / step > 1.9


def test_numbers_are_short():
    assert [short_number(v, 500) for v in (0, 500, 1000, 1500, 12000)] == ["0", "500", "1k", "1.5k", "12k"]
    assert [short_number(v, 0.05) for v in (0.0, 0.05, -0.1, 1.0)] == ["0.00", "0.05", "−0.10", "1.00"]
    assert [short_number(v, 2.5) for v in (-2.5, 1e-17, 5)] == ["−2.5", "0.0", "5.0"]
    assert short_number(2.5e6, 5e5) == "2.5M"


def test_points_lie_where_their_values_say():
    """x from 0 to 200 and y from 1 to 3 (ticks every 0.5), drawn between the margins."""
    curve = Curve("one", 0, (0.0, 50.0, 200.0), (1.0, 3.0, 2.0), marked=True)
    root = chart(curve, labelled=False)
    line = root.find("polyline").get("points")
    points = [tuple(map(float, pair.split(","))) for pair in line.split()]
    low, high = HEIGHT - BOTTOM, TOP
    assert points == [(LEFT, low), (LEFT + 298 / 4, high), (LEFT + 298, (low + high) / 2)]
    assert [(float(c.get("cx")), float(c.get("cy"))) for c in root.findall("circle")] == points
    labels = {t.text: float(t.get("y")) for t in root.findall("text") if "y" in t.get("class").split()}
    assert list(labels) == ["1.0", "1.5", "2.0", "2.5", "3.0"]
    assert labels["1.0"] == low + 4
    assert labels["3.0"] == high + 4
    below = {t.text: float(t.get("y")) for t in root.findall("text") if "x" in t.get("class").split()}
    assert list(below) == ["0", "50", "100", "150", "200", "pictures"]
    assert set(below.values()) == {low + 16, low + 31}


def test_constant_and_single_values_have_an_axis():
    root = chart(Curve("one", 0, (0.0, 10.0), (0.5, 0.5)), labelled=False)
    heights = {pair.split(",")[1] for pair in root.find("polyline").get("points").split()}
    assert len(heights) == 1
    assert TOP < float(heights.pop()) < HEIGHT - BOTTOM
    point = chart(Curve("one", 0, (7.0,), (0.0,)), labelled=False)
    assert point.find("polyline") is None
    assert len(point.findall("circle")) == 1
    x, y = axes_of([Curve("one", 0, (0.0,), (-3.0,))], 10)
    assert x.low < x.high
    assert y.low < -3 < y.high


def test_a_chart_says_what_it_shows():
    curves = [Curve("xe & co", 0, (0.0, 5.0), (1.0, 2.0)), Curve("a-run-with-a-long-name", 7, (0.0, 5.0), (1.0, 1.99))]
    root = chart(*curves)
    assert root.find("title").text == "Reward <b>"
    assert "xe & co: from 1 at 0 to 2 at 5 pictures" in root.find("desc").text
    assert root.get("aria-labelledby") == "c-title c-told"
    ends = [t for t in root.findall("text") if "end" in t.get("class")]
    assert [t.text for t in ends] == ["xe & co", "a-run-with-a-…"]
    assert ends[1].get("class") == "end run1 dashed"
    assert float(ends[1].get("y")) - float(ends[0].get("y")) >= 12.9  # they would have covered each other
    longest = float(ends[1].get("x")) + 6.4 * 14
    assert longest <= 360 + 1


def test_colours_are_of_the_style_sheet_and_then_dashed():
    assert [colour(n) for n in (0, 5, 6, 11)] == ["run0", "run5", "run0 dashed", "run5 dashed"]


def test_labels_are_moved_apart_inside_the_chart():
    assert spread_labels([10, 100], 0, 200, 13) == [10, 100]
    assert spread_labels([50, 51, 52], 0, 200, 10) == [50, 60, 70]
    assert spread_labels([198, 199, 20], 0, 200, 10) == [190, 200, 20]
    assert spread_labels([], 0, 1) == []


def test_long_curves_are_averaged_in_groups():
    assert thinned([1, 2, 3], 5) == [1, 2, 3]
    assert thinned([1, 3, 5, 7, 9], 3) == [2, 6, 9]
    assert thinned([], 3) == []


@pytest.fixture
def two(tmp_path):
    """Two runs, of 32 and 8 pictures a step, the second one started from the first."""

    def run(name, rows, **values):
        folder = RunFolder(tmp_path / name)
        folder.make()
        folder.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
        config = build({"training": {"steps": 10, "batch_size": 8}, **values})
        return NamedCaptioner(name, str(folder.best), folder, config)

    first = run(
        "xe",
        [
            {"step": 0, "kind": "eval", "cider": 0.1, "unfinished": 0.0},
            {"step": 5, "kind": "train", "loss": 4.0, "images": 160.0},
            {"step": 10, "kind": "train", "loss": 3.0, "images": 320.0},
            {"step": 10, "kind": "eval", "cider": 0.5, "unfinished": 0.0},
        ],
    )
    second = run(
        "scst",
        [
            {"step": 0, "kind": "eval", "cider": 0.4, "pacs": 1.0, "unfinished": 0.0},
            {"step": 10, "kind": "train", "loss": -1.0, "reward": 0.7, "kl": 0.2, "length": 9.0, "repetition": None},
            {"step": 10, "kind": "eval", "cider": 0.3, "pacs": 1.5, "unfinished": 0.0},
        ],
        optimizer={"name": "scst"},
        reward={"expression": "pacs"},
    )
    return first, second


def test_curves_run_over_the_pictures_seen(two):
    first, second = two
    assert images_per_step(first, first.run.rows()) == 32
    assert images_per_step(second, second.run.rows()) == 8  # its rows do not say it, its configuration does
    assert [images_seen(source) for source in two] == [320, 80]
    found = {panel.title: panel.curves for panel in panels_of(two)}
    assert list(found) == [
        "Reward: pacs",
        "Held out: CIDEr",
        "Held out: PAC-S",
        "KL from the start",
        "Length",
        "Loss of xe",
        "Loss of scst",
    ]
    assert found["Held out: CIDEr"] == (
        Curve("xe", 0, (0.0, 320.0), (0.1, 0.5), marked=True),
        Curve("scst", 1, (0.0, 80.0), (0.4, 0.3), marked=True),
    )
    assert found["Reward: pacs"] == (Curve("scst", 1, (80.0,), (0.7,)),)
    assert found["Loss of xe"] == (Curve("xe", 0, (160.0, 320.0), (4.0, 3.0)),)


def test_where_others_started_has_no_curves_beside_them(two):
    first, second = two
    started = replace(second.config.captioner, init=str(first.run.path))
    second = replace(second, config=replace(second.config, captioner=started))
    assert {curve.name for panel in panels_of([first, second]) for curve in panel.curves} == {"scst"}
    assert {curve.number for panel in panels_of([first, second]) for curve in panel.curves} == {1}
    assert {curve.name for panel in panels_of([first]) for curve in panel.curves} == {"xe"}


def test_captioners_that_are_no_runs_have_no_curves():
    assert panels_of([NamedCaptioner("scenes", "scenes")]) == []
