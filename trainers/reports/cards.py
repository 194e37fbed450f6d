"""The cards of a report: pictures with the captions of every run side by side, in the runs' colours."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from capreward.reports.gallery_choice import Card, Choice
from capreward.reports.gallery_page import Deck, Section, main_first
from capreward.reports.gallery_pictures import Thumbnail
from capreward.reports.results import Results, label
from trainers.reports.chart import colour

RANKING = ("judge", "pacs", "clips")  # whose opinion chooses the pictures, the first that is there
BESIDE = ("cider", "pacs", "scene-facts-precision", "scene-facts-recall", "scene-grammar")
SHOWN = 5  # metrics beside a caption


def run_deck(choice: Choice, pictures: Mapping[str, Thumbnail | None], references: Mapping[str, Sequence[str]]) -> Deck:
    """Return what the cards of a report have in common: few metrics, and each run's colour.

    Args:
        choice: The choice of cards.
        pictures: The pictures by key; None for a picture that could not be opened.
        references: The references by key.
    """
    main, *others = main_first(choice)
    usual = [c for c in others if c.name in BESIDE] or others
    classes = {system.name: colour(number) for number, system in enumerate(choice.results.systems)}
    return Deck(main.name, [main, *usual][:SHOWN], choice.several, pictures, references, classes)


def card_sections(results: Results, count: int) -> tuple[Choice, list[Section]]:
    """Return sections with the first pictures, and the best, worst and most disputed by the judge; each picture once.

    Args:
        results: The results of one or several runs on the same items.
        count: The greatest number of pictures per section.

    Raises:
        InputError: No metric has a value per caption.
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
        sections.append(Section(identity, heading, why, cards))
    return choice, sections
