"""The gallery: one HTML file that shows the best, worst and most disputed captions with their pictures."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from capreward.errors import InputError
from capreward.reports.gallery_choice import Choice
from capreward.reports.gallery_page import Deck, GalleryPage, Section, main_first
from capreward.reports.gallery_pictures import thumbnails
from capreward.reports.html_templates import write_page
from capreward.reports.output_files import check_output_path
from capreward.reports.results import Results, label

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".html", ".htm")


def check_gallery_path(path: str | Path) -> None:
    """Refuse a path that ``write_gallery`` cannot use; see ``check_output_path``."""
    check_output_path(path, "--gallery", SUFFIXES)


def write_gallery(
    path: str | Path,
    results: Results,
    picture_of: Callable[[str], Image.Image | None],
    references: Mapping[str, Sequence[str]] | None = None,
    *,
    metric: str | None = None,
    count: int = 12,
    pictured: Container[str] | None = None,
) -> int:
    """Write the gallery of one or several systems: one HTML file that loads no other file.

    Best and worst are chosen by the ranking metric, averaged over the systems (and over the captions of an image, if a
    system has several). Most disputed has two meanings, each shown if it applies:

    - between metrics: the percentile rank of a caption is the share of all other captions that it beats by a metric
      (ties count half; metrics where less is better are reversed). The dispute is the difference between its highest
      and its lowest rank over all metrics with a direction;
    - between systems: the dispute is the difference between the highest and the lowest system's value of the ranking
      metric on the same image.

    Args:
        path: A path that ends in ``.html``; the file is written beside it and then renamed.
        results: The results, with values per caption.
        picture_of: A function from a key to its picture; None, an InputError or an OSError shows a placeholder.
        references: The reference captions by key.
        metric: The ranking metric; None takes the first requested one that has a value per caption and a direction.
        count: The most images per section.
        pictured: The images that may be shown; None allows all. The others still count in the table and in every rank.

    Returns:
        The number of different images on the page.

    Raises:
        InputError: There is no such metric, no metric has values per caption, or the file cannot be written.
    """
    check_gallery_path(path)
    if count < 1:
        raise InputError(f"a gallery needs count of 1 or more; found {count}")
    choice = Choice(results, metric, pictured=pictured)
    sections = [section for section in _sections(choice, count) if section.cards]
    pictures = thumbnails((card.key for section in sections for card in section.cards), picture_of)
    deck = Deck(choice.metric.name, main_first(choice), choice.several, pictures, references or {})
    write_page(path, "gallery.html", {"page": GalleryPage(choice, sections, deck)})
    return len(pictures)


def _sections(choice: Choice, count: int) -> list[Section]:
    name = label(choice.metric.name)
    high, low = ("lowest", "highest") if choice.metric.higher_is_better is False else ("highest", "lowest")
    mean = ", averaged over the systems" if choice.several else ""
    sections = [
        Section("best", "Best", f"The images with the {high} {name}{mean}.", choice.best(count)),
        Section("worst", "Worst", f"The images with the {low} {name}{mean}.", choice.worst(count)),
    ]
    if choice.several:
        told = f"The images on which the systems’ {name} differs most: highest minus lowest system."
        cards = choice.disputed_by_systems(count)
        sections.append(Section("disputed-systems", "Most disputed between systems", told, cards))
    if len(choice.directed_metrics) > 1:
        told = (
            "The captions that one metric ranks high and another low: largest difference between two percentile ranks, "
            "each the share of the other captions that it beats."
        )
        heading = "Most disputed between metrics" if choice.several else "Most disputed"
        sections.append(Section("disputed-metrics", heading, told, choice.disputed_by_metrics(count)))
    return sections
