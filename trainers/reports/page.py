"""The report as one HTML page that loads nothing and runs nothing, every text escaped."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from capreward._version import __version__
from capreward.reports.gallery_page import POLICY
from capreward.reports.results import Results
from trainers.reports.chart import colour, line_chart
from trainers.reports.curves import Panel, warnings_in
from trainers.reports.headline import headline

if TYPE_CHECKING:
    from trainers.comparison.named_captioners import Source

MOST_LABELS = 5  # runs whose names stand beside their lines


@dataclass(frozen=True)
class Report:
    """What a page shows.

    Attributes:
        title: of the page.
        sources: the runs, in the order of their colours.
        results: their evaluation; None where there is none.
        panels: their curves.
        cards: pictures with captions, as HTML.
        links: (id, heading) of the sections of cards.
        said: plain sentences for the head of the page.
        commands: that made all this.
    """

    title: str
    sources: Sequence[Source]
    results: Results | None
    panels: Sequence[Panel]
    cards: str = ""
    links: Sequence[tuple[str, str]] = ()
    said: Sequence[str] = ()
    commands: Sequence[str] = field(default_factory=tuple)

    def html(self) -> str:
        """The whole document."""
        links = [("warnings", "Warnings")] if warnings_in(self.sources) else []
        links += [("curves", "Curves")] if self.panels else []
        links += [*self.links, ("settings", "Settings")]
        nav = "".join(f'<a href="#{name}">{escape(heading)}</a>' for name, heading in links)
        return "\n".join(
            [
                *_head(self.title),
                "<body>",
                f"<header>\n<h1>{escape(self.title)}</h1>\n<p>{escape(self._summary())}</p>",
                self._said(),
                "" if self.results is None else headline(self.results),
                f'<nav aria-label="Sections">{nav}</nav>\n</header>',
                "<main>",
                self._warnings(),
                self._curves(),
                self.cards,
                self._settings(),
                "</main>",
                self._footer(),
                "</body>",
                "</html>\n",
            ]
        )

    def _summary(self) -> str:
        runs = f"{len(self.sources)} captioners" if len(self.sources) > 1 else "One captioner"
        if self.results is None:
            return f"{runs}, not evaluated."
        matched = self.results.systems[0].matched.partition(", captioned by")[0]
        drawn = "" if self.results.bootstrap is None else f" Below each value: {self.results.bootstrap}."
        bold = ", the best value of each row bold" if len(self.sources) > 1 else ""
        return f"{runs} on {matched or 'the same pictures'}{bold}.{drawn}"

    def _said(self) -> str:
        lines = "\n".join(f"<p>{escape(sentence)}</p>" for sentence in self.said)
        return f'<div class="said">\n{lines}\n</div>' if lines else ""

    def _warnings(self) -> str:
        found = warnings_in(self.sources)
        if not found:
            return ""
        items = "\n".join(
            f'<li class="{colour(number)}">{escape(source.name)}, step {row["step"]:,}: '
            f"<code>{escape(str(row['name']))}</code> {escape(str(row['told']))}</li>"
            for number, source, rows in found
            for row in rows
        )
        return (
            '<section id="warnings" aria-labelledby="warnings-heading">\n<h2 id="warnings-heading">Warnings</h2>\n'
            '<p class="why">Signs that a reward was gamed rather than earned, each told once in a run.</p>\n'
            f'<ul class="warnings">\n{items}\n</ul>\n</section>'
        )

    def _curves(self) -> str:
        if not self.panels:
            return ""
        drawn = {curve.number: curve.name for panel in self.panels for curve in panel.curves}
        items = "".join(f'<li class="{colour(n)}">{escape(name)}</li>' for n, name in sorted(drawn.items()))
        labelled = 1 < len(drawn) <= MOST_LABELS
        charts = "\n".join(
            f"<figure><figcaption>{escape(panel.title)}<span>{escape(panel.told)}</span></figcaption>\n"
            + line_chart(f"chart-{n}", panel.title, "pictures seen", panel.curves, labelled=labelled)
            + "</figure>"
            for n, panel in enumerate(self.panels)
        )
        return (
            '<section id="curves" aria-labelledby="curves-heading">\n<h2 id="curves-heading">Curves</h2>\n'
            '<p class="why">What each run logged while it learned, over the pictures it had seen.</p>\n'
            f'<ul class="legend">{items}</ul>\n<div class="charts">\n{charts}\n</div>\n</section>'
        )

    def _settings(self) -> str:
        blocks = []
        if self.commands:
            blocks.append(_folded("Commands", "\n".join(self.commands)))
        blocks += [
            _folded(f"Configuration of {source.name}", _yaml(source)) for source in self.sources if source.config
        ]
        body = "\n".join(blocks) or "<p>No run is known by its configuration.</p>"
        return (
            '<section id="settings" aria-labelledby="settings-heading">\n'
            f'<h2 id="settings-heading">Settings</h2>\n{body}\n</section>'
        )

    def _footer(self) -> str:
        if self.results is None:
            return f"<footer>\n<p>capreward {escape(__version__)}</p>\n</footer>"
        signatures = "".join(f"<li><code>{escape(s)}</code></li>" for s in self.results.signatures())
        matched = [f"{s.name}: {s.matched}" for s in self.results.systems if s.matched]
        notes = "".join(f"<li>{escape(n)}</li>" for n in [*matched, *self.results.said])
        return (
            "<footer>\n<p>A bar is the share of the other captions on this page’s runs that a caption beats by that "
            "metric, ties counted half; ↓ marks metrics where less is better.</p>\n"
            f"<h2>What the numbers depend on</h2>\n<ul>{signatures}</ul>\n"
            + (f"<h2>Notes</h2>\n<ul>{notes}</ul>\n" if notes else "")
            + f"<p>capreward {escape(__version__)}</p>\n</footer>"
        )


def commands_of(sources: Sequence[Source]) -> list[str]:
    """Commands that train the runs again, each into a new folder, and compare them."""
    lines = [
        shlex.join(["capreward", "train", "--config", str(source.run.config), "--run", f"{source.run.path}-again"])
        for source in sources
        if source.run is not None and source.config is not None
    ]
    named = [source.path if source.run is None else str(source.run.path) for source in sources]
    return [*lines, shlex.join(["capreward", "evaluate", *named])]


def _folded(summary: str, text: str) -> str:
    return (
        f'<details class="folded"><summary>{escape(summary)}</summary>'
        f'<pre tabindex="0">{escape(text.rstrip())}</pre></details>'
    )


def _yaml(source: Source) -> str:
    from trainers.runs.training import to_yaml

    return "" if source.config is None else to_yaml(source.config)


def _head(title: str) -> list[str]:
    gallery = files("capreward.reports").joinpath("gallery.css").read_text(encoding="utf-8")
    own = files("trainers.reports").joinpath("report.css").read_text(encoding="utf-8")
    return [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{gallery}\n{own}</style>",
        "</head>",
    ]
