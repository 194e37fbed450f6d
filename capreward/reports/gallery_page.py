"""The values that a gallery's templates show: its sections, and the texts on a card beside its captions."""

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
        name: The name in links.
        heading: The heading of the section.
        why: A sentence that says what the cards have in common.
        cards: The cards in order.
    """

    name: str
    heading: str
    why: str
    cards: Sequence[Card]


class Link(NamedTuple):
    """A link to a section of the page.

    Attributes:
        name: The name of the section.
        heading: The heading of the section.
    """

    name: str
    heading: str


@dataclass(frozen=True)
class Deck:
    """The settings that all cards of a page share.

    Attributes:
        main: The name of the ranking metric.
        columns: The metrics on a card, the ranking one first.
        several: Whether each caption shows the name of its system.
        pictures: The pictures by key; None for a picture that could not be opened.
        references: The reference captions by key.
        classes: The style classes by system; the gallery has none.
    """

    main: str
    columns: Sequence[Score]
    several: bool
    pictures: Mapping[str, Thumbnail | None]
    references: Mapping[str, Sequence[str]]
    classes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class GalleryPage:
    """The values that ``gallery.html`` shows.

    Attributes:
        choice: The choice of captions.
        sections: The sections that have cards.
        deck: The settings of the cards.
    """

    choice: Choice
    sections: Sequence[Section]
    deck: Deck

    @property
    def title(self) -> str:
        """The title of the page."""
        return f"Captions of {', '.join(s.name for s in self.results.systems)}"

    @property
    def results(self) -> Results:
        """The results of all systems."""
        return self.choice.results

    @property
    def links(self) -> list[Link]:
        """The links to the sections."""
        return [Link(section.name, section.heading) for section in self.sections]

    @property
    def notes(self) -> list[str]:
        """The notes at the foot of the page."""
        return self.results.all_notes

    @property
    def captions(self) -> int:
        """The number of judged captions."""
        return sum(len(card.lines) for card in self.choice.cards)


def main_first(choice: Choice) -> list[Score]:
    """Return the metrics with values per caption, the ranking one first."""
    first = [c for c in choice.columns if c.name == choice.metric.name]
    return first + [c for c in choice.columns if c.name != choice.metric.name]
