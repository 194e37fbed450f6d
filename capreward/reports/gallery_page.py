"""What the templates of a gallery show: its sections, and what stands on a card beside its captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from capreward.reports.gallery_choice import Card, Choice
from capreward.reports.gallery_pictures import Thumbnail
from capreward.reports.results import Results
from capreward.scores import Score


class Section(NamedTuple):
    """A part of a page with cards.

    Attributes:
        name: for links.
        heading: of the section.
        why: what the cards have in common, in a sentence.
        cards: in order.
    """

    name: str
    heading: str
    why: str
    cards: Sequence[Card]


class Link(NamedTuple):
    """To a section of the page.

    Attributes:
        name: of the section.
        heading: of the section.
    """

    name: str
    heading: str


@dataclass(frozen=True)
class Deck:
    """What the cards of a page have in common.

    Attributes:
        main: name of the ranking metric.
        columns: the metrics on a card, the ranking one first.
        several: name the system of each caption.
        pictures: by key, None where a picture could not be opened.
        references: by key.
        classes: of the style sheet, by system; the gallery has none.
    """

    main: str
    columns: Sequence[Score]
    several: bool
    pictures: Mapping[str, Thumbnail | None]
    references: Mapping[str, Sequence[str]]
    classes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GalleryPage:
    """The values of ``gallery.html``.

    Attributes:
        choice: what may be shown.
        sections: those with cards.
        deck: of the cards.
    """

    choice: Choice
    sections: Sequence[Section]
    deck: Deck

    @property
    def title(self) -> str:
        """Of the page."""
        return f"Captions of {', '.join(s.name for s in self.results.systems)}"

    @property
    def results(self) -> Results:
        """Of all systems."""
        return self.choice.results

    @property
    def links(self) -> list[Link]:
        """To the sections."""
        return [Link(section.name, section.heading) for section in self.sections]

    @property
    def notes(self) -> list[str]:
        """For the foot of the page."""
        return self.results.said

    @property
    def captions(self) -> int:
        """How many captions were judged."""
        return sum(len(card.lines) for card in self.choice.cards)


def main_first(choice: Choice) -> list[Score]:
    """The metrics with values per caption, the ranking one first."""
    first = [c for c in choice.columns if c.name == choice.metric.name]
    return first + [c for c in choice.columns if c.name != choice.metric.name]
