"""The gallery as HTML: cards, scores and words, every text escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

from capreward._version import __version__
from capreward.reports.gallery_choice import Card, Choice, Line, percent
from capreward.reports.gallery_pictures import Thumbnail
from capreward.reports.results import format_value, label
from capreward.scores import Score

# Nothing but the page's own style and pictures may ever be loaded or run, whatever a caption holds.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Page:
    """Builds the page of a choice.

    Args:
        choice: what may be shown.
        pictures: by key, None where a picture could not be opened.
        references: by key.
    """

    def __init__(
        self,
        choice: Choice,
        pictures: Mapping[str, Thumbnail | None],
        references: Mapping[str, Sequence[str]],
    ) -> None:
        self.choice = choice
        self.pictures = pictures
        self.references = references
        first = [c for c in choice.columns if c.name == choice.metric.name]
        self.columns = first + [c for c in choice.columns if c.name != choice.metric.name]

    def html(self, sections: Sequence[tuple[str, str, str, Sequence[Card]]]) -> str:
        """The whole document.

        Args:
            sections: (id, heading, explanation, cards) of each.
        """
        systems = [s.name for s in self.choice.results.systems]
        title = escape(f"Captions of {', '.join(systems)}")
        style = files("capreward.reports").joinpath("gallery.css").read_text(encoding="utf-8")
        shown = [s for s in sections if s[3]]
        links = "".join(f'<a href="#{name}">{escape(heading)}</a>' for name, heading, _, _ in shown)
        return "\n".join(
            [
                "<!DOCTYPE html>",
                '<html lang="en">',
                "<head>",
                '<meta charset="utf-8">',
                f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                '<meta name="color-scheme" content="light dark">',
                f"<title>{title}</title>",
                f"<style>\n{style}</style>",
                "</head>",
                "<body>",
                f"<header>\n<h1>{title}</h1>\n<p>{self._summary()}</p>\n{self._table()}",
                f'<nav aria-label="Sections">{links}</nav>\n</header>',
                "<main>",
                *(self._section(*section) for section in shown),
                "</main>",
                self._footer(),
                "</body>",
                "</html>\n",
            ]
        )

    def _summary(self) -> str:
        images = len(self.choice.cards)
        captions = sum(len(card.lines) for card in self.choice.cards)
        told = f"{captions:,} caption{'s' * (captions != 1)} of {images:,} image{'s' * (images != 1)}"
        pictured = len(self.choice.shown)
        if pictured < images:
            told += f", {pictured:,} of which {'has a picture' if pictured == 1 else 'have pictures'}"
        return f"{told}, ranked by <strong>{escape(label(self.choice.metric.name))}</strong>."

    def _table(self) -> str:
        """The systems' values over all captions."""
        head = "".join(f'<th scope="col">{escape(label(c.name))}{_arrow(c)}</th>' for c in self.columns)
        rows = []
        for system in self.choice.results.systems:
            cells = "".join(f"<td>{format_value(system.scores[c.name].value, c)}</td>" for c in self.columns)
            rows.append(f'<tr><th scope="row">{escape(system.name)}</th>{cells}</tr>')
        corner = '<td><span class="hidden">system</span></td>'
        body = "\n".join(rows)
        table = f"<table>\n<thead><tr>{corner}{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
        return f'<div class="wide" tabindex="0" role="region" aria-label="Scores">{table}</div>'

    def _section(self, name: str, heading: str, explanation: str, cards: Sequence[Card]) -> str:
        body = "\n".join(self._card(card) for card in cards)
        return (
            f'<section id="{name}" aria-labelledby="{name}-heading">\n<h2 id="{name}-heading">{escape(heading)}</h2>\n'
            f'<p class="why">{escape(explanation)}</p>\n<div class="cards">\n{body}\n</div>\n</section>'
        )

    def _card(self, card: Card) -> str:
        note = f'<p class="note">{escape(card.note)}</p>\n' if card.note else ""
        lines = "\n".join(self._line(line, marked=line is card.marked and len(card.lines) > 1) for line in card.lines)
        return (
            f'<article>\n{self._picture(card.key)}\n<div class="text">\n{note}{lines}\n'
            f'{self._references(card.key)}<p class="key">{escape(card.key)}</p>\n</div>\n</article>'
        )

    def _picture(self, key: str) -> str:
        found = self.pictures.get(key)
        if found is None:
            return '<div class="picture none"><p>no picture</p></div>'
        drawn = ' class="drawn"' if found.drawn else ""
        size = f'width="{found.width}" height="{found.height}"'
        alt = escape(f"image {key}")
        return f'<div class="picture"><img{drawn} src="{found.uri}" {size} alt="{alt}"></div>'

    def _line(self, line: Line, *, marked: bool) -> str:
        system = f'<p class="system">{escape(line.system)}</p>' if self.choice.several else ""
        caption = escape(line.caption) if line.caption.strip() else '<em class="empty">no words</em>'
        scores = "".join(self._score(line, column) for column in self.columns)
        return (
            f'<div class="line{" marked" * marked}">{system}<p class="caption" dir="auto">{caption}</p>'
            f'<ul class="scores">{scores}</ul></div>'
        )

    def _score(self, line: Line, column: Score) -> str:
        rank = line.ranks.get(column.name)
        bar, told = "", ""
        if rank is not None:
            bar = f'<span class="bar"><span style="width:{rank:.1%}"></span></span>'
            told = f' title="better than {percent(rank)} of the captions"'
        main = ' class="main"' if column.name == self.choice.metric.name else ""
        value = format_value(line.values[column.name], column)
        return f"<li{main}{told}><span>{escape(label(column.name))}{_arrow(column)}</span><b>{value}</b>{bar}</li>"

    def _references(self, key: str) -> str:
        found = self.references.get(key, ())
        if not found:
            return ""
        items = "".join(f'<li dir="auto">{escape(text)}</li>' for text in found)
        count = f"{len(found)} reference{'s' * (len(found) != 1)}"
        return f"<details><summary>{count}</summary><ul>{items}</ul></details>\n"

    def _footer(self) -> str:
        signatures = "".join(f"<li><code>{escape(s)}</code></li>" for s in self.choice.results.signatures())
        notes = "".join(f"<li>{escape(n)}</li>" for n in self.choice.results.said)
        return (
            "<footer>\n<p>A bar is the share of the other captions on this page’s systems that a caption beats by that "
            "metric, ties counted half; ↓ marks metrics where less is better.</p>\n"
            f"<h2>What the numbers depend on</h2>\n<ul>{signatures}</ul>\n"
            + (f"<h2>Notes</h2>\n<ul>{notes}</ul>\n" if notes else "")
            + f"<p>capreward {escape(__version__)}</p>\n</footer>"
        )


def _arrow(column: Score) -> str:
    return " ↓" if column.higher_is_better is False else ""
