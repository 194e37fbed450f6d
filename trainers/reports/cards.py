"""Pictures with the captions of every run side by side, as the gallery shows them, in the runs' colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from capreward.errors import InputError
from capreward.reports.gallery_choice import Card, Choice, Line
from capreward.reports.gallery_page import Page
from capreward.reports.gallery_pictures import Thumbnail, thumbnail
from capreward.reports.results import Results, label
from trainers.reports.chart import colour

if TYPE_CHECKING:
    from PIL import Image

RANKING = ("judge", "pacs", "clips")  # whose opinion chooses the pictures, the first that is there
BESIDE = ("cider", "pacs", "scene-facts-precision", "scene-facts-recall", "scene-grammar")
SHOWN = 5  # metrics beside a caption

PictureOf = Callable[[str], "Image.Image | None"]
Section = tuple[str, str, str, Sequence[Card]]


class RunCards(Page):
    """The cards of a report.

    Args:
        choice: what may be shown.
        pictures: by key, None where a picture could not be opened.
        references: by key.
    """

    def __init__(
        self, choice: Choice, pictures: Mapping[str, Thumbnail | None], references: Mapping[str, Sequence[str]]
    ) -> None:
        super().__init__(choice, pictures, references)
        main, others = self.columns[0], self.columns[1:]
        usual = [c for c in others if c.name in BESIDE] or others
        self.columns = [main, *usual][:SHOWN]
        self.numbers = {system.name: number for number, system in enumerate(choice.results.systems)}

    def sections(self, sections: Sequence[Section]) -> str:
        """The sections as HTML."""
        return "\n".join(self._section(*section) for section in sections if section[3])

    def _line(self, line: Line, *, marked: bool) -> str:
        own = f'<p class="system {colour(self.numbers[line.system])}">'
        return super()._line(line, marked=marked).replace('<p class="system">', own, 1)


def chosen(results: Results, count: int) -> tuple[Choice, list[Section]]:
    """The first pictures, and the best, worst and most disputed by the judge; each picture once.

    Args:
        results: of one or several runs on the same items.
        count: pictures per section, at most.

    Raises:
        InputError: no metric has a value per caption.
    """
    names = [c.name for c in results.columns if c.per_caption is not None]
    choice = Choice(results, next((name for name in RANKING if name in names), None))
    name, several = label(choice.metric.name), choice.several
    mean = ", averaged over the runs" if several else ""
    high, low = ("lowest", "highest") if choice.metric.higher_is_better is False else ("highest", "lowest")
    disputed = choice.disputed_by_systems if several else choice.disputed_by_metrics
    by_whom = f"on which the runs’ {name} differs most" if several else "which one metric ranks high and another low"
    offered: list[tuple[str, str, str, Callable[[int], list[Card]]]] = [
        ("first", "The first ones", "Chosen by nobody: the first held-out pictures.", lambda n: choice.cards[:n]),
        ("disputed", "Most disputed", f"The pictures {by_whom}.", disputed),
        ("best", "Best", f"The pictures with the {high} {name}{mean}.", choice.best),
        ("worst", "Worst", f"The pictures with the {low} {name}{mean}.", choice.worst),
    ]
    used: set[str] = set()
    sections: list[Section] = []
    for identity, heading, why, take in offered:
        cards = [card for card in take(count + len(used)) if card.key not in used][:count]
        used |= {card.key for card in cards}
        sections.append((identity, heading, why, cards))
    return choice, sections


def thumbnails(sections: Sequence[Section], picture_of: PictureOf) -> dict[str, Thumbnail | None]:
    """The pictures of all cards; None where one cannot be opened."""
    return {card.key: _opened(picture_of, card.key) for _, _, _, cards in sections for card in cards}


def _opened(picture_of: PictureOf, key: str) -> Thumbnail | None:
    try:
        image = picture_of(key)
        return None if image is None else thumbnail(image)
    except (InputError, OSError):
        return None
