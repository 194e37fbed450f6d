"""The values that the templates of a report show."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from capreward.reports.gallery_page import Deck, Link, Section
from capreward.reports.results import Results
from capreward.reports.tables import best_value
from trainers.reports.chart import LineChart, colour
from trainers.reports.curves import Panel, warnings_in
from trainers.reports.headline import MEANINGS

if TYPE_CHECKING:
    from trainers.runs.named_run import NamedRun

MOST_LABELS = 5  # runs whose names stand beside their lines


@dataclass(frozen=True)
class Report:
    """The values of ``report.html``.

    Attributes:
        title: The title of the page.
        sources: The runs, in the order of their colours.
        results: The evaluation of the runs; None if there is none.
        panels: The charts of the runs.
        sections: The sections with cards; empty if nothing was evaluated.
        deck: The common values of the cards.
        conclusions: Plain sentences for the head of the page.
        commands: The commands that made all this.
    """

    title: str
    sources: Sequence[NamedRun]
    results: Results | None
    panels: Sequence[Panel]
    sections: Sequence[Section] = ()
    deck: Deck | None = None
    conclusions: Sequence[str] = ()
    commands: Sequence[str] = field(default_factory=tuple)

    def values(self) -> dict[str, Any]:
        """Return the values by the names that the templates use."""
        return {"page": self, "colour": colour, "meanings": MEANINGS, "best_value": best_value}

    @property
    def links(self) -> list[Link]:
        """The links to the sections."""
        links = [Link("warnings", "Warnings")] if self.warnings else []
        links += [Link("curves", "Curves")] if self.panels else []
        links += [Link(section.name, section.heading) for section in self.sections]
        return [*links, Link("settings", "Settings")]

    @property
    def summary(self) -> str:
        """The sentence that tells what was evaluated."""
        runs = f"{len(self.sources)} captioners" if len(self.sources) > 1 else "One captioner"
        if self.results is None:
            return f"{runs}, not evaluated."
        matched = self.results.systems[0].matched.partition(", captioned by")[0]
        drawn = "" if self.results.bootstrap is None else f" Below each value: {self.results.bootstrap}."
        bold = ", the best value of each row bold" if len(self.sources) > 1 else ""
        return f"{runs} on {matched or 'the same pictures'}{bold}.{drawn}"

    @cached_property
    def warnings(self) -> list[tuple[int, NamedRun, list[dict[str, Any]]]]:
        """The warnings of each run that has any, with the run's number."""
        return warnings_in(self.sources)

    @property
    def legend(self) -> list[tuple[int, str]]:
        """The number and the name of each run that has curves."""
        return sorted({curve.number: curve.name for panel in self.panels for curve in panel.curves}.items())

    @property
    def charts(self) -> list[tuple[Panel, LineChart]]:
        """The panels with their charts."""
        labelled = 1 < len(self.legend) <= MOST_LABELS
        return [
            (panel, LineChart(f"chart-{n}", panel.title, "pictures seen", panel.curves, labelled))
            for n, panel in enumerate(self.panels)
        ]

    @property
    def settings(self) -> list[tuple[str, str]]:
        """The commands and each run's configuration, as headings and texts."""
        texts = [("Commands", "\n".join(self.commands))] if self.commands else []
        texts += [(f"Configuration of {source.name}", _yaml(source)) for source in self.sources if source.config]
        return [(heading, text.rstrip()) for heading, text in texts]

    @property
    def notes(self) -> list[str]:
        """The notes at the foot of the page."""
        if self.results is None:
            return []
        matched = [f"{s.name}: {s.matched}" for s in self.results.systems if s.matched]
        return [*matched, *self.results.all_notes]


def commands_of(sources: Sequence[NamedRun]) -> list[str]:
    """Return commands that train the runs again, each into a new folder, and compare them."""
    lines = [
        shlex.join(["capreward", "train", "--config", str(source.run.config), "--run", f"{source.run.path}-again"])
        for source in sources
        if source.run is not None and source.config is not None
    ]
    paths = [source.path if source.run is None else str(source.run.path) for source in sources]
    return [*lines, shlex.join(["capreward", "evaluate", *paths])]


def _yaml(source: NamedRun) -> str:
    from trainers.runs.training import to_yaml

    return "" if source.config is None else to_yaml(source.config)
