"""The file ``report.html``, made from runs and their evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from capreward.errors import InputError
from capreward.reports.gallery import SUFFIXES
from capreward.reports.gallery_pictures import thumbnails
from capreward.reports.html_templates import write_page
from capreward.reports.output_files import check_output_path
from capreward.reports.results import Results
from trainers.reports.cards import card_sections, run_deck
from trainers.reports.curves import panels_of
from trainers.reports.report_page import Report, commands_of

if TYPE_CHECKING:
    from trainers.runs.named_run import NamedRun

EACH = 3  # pictures per section


def check_report_path(path: str | Path) -> None:
    """Refuse a path that ``write_report`` cannot take; see ``check_output_path``."""
    check_output_path(path, "--output", SUFFIXES)


def write_report(
    path: str | Path,
    sources: Sequence[NamedRun],
    results: Results | None,
    *,
    title: str | None = None,
    conclusions: Sequence[str] = (),
    commands: Sequence[str] | None = None,
    count: int = EACH,
) -> int:
    """Write the report of one or several runs: one HTML file that loads nothing.

    Args:
        path: The path, which ends in ``.html``; the file is written beside its place, then renamed.
        sources: The runs; captioners without a run have no curves.
        results: The evaluation of the runs, with systems in the order of ``sources``; None for only curves and
            settings.
        title: The title of the page.
        conclusions: Plain sentences for the head of the page.
        commands: The commands that made all this; by default those that train and evaluate the runs again.
        count: The greatest number of pictures per section.

    Returns:
        The number of pictures that the page shows.

    Raises:
        InputError: There is nothing to show, or the file cannot be written.
    """
    check_report_path(path)
    panels = panels_of(sources)
    if results is None and not panels:
        raise InputError(f"{sources[0].name} has no curves and no evaluation; name a run that has begun")
    report = Report(
        title or f"Captioners: {', '.join(source.name for source in sources)}",
        sources,
        results,
        panels,
        conclusions=conclusions,
        commands=commands_of(sources) if commands is None else commands,
    )
    picture_count = 0
    if results is not None:
        report, picture_count = _with_cards(report, results, count)
    write_page(path, "report.html", report.values(), package="trainers.reports")
    return picture_count


def _with_cards(report: Report, results: Results, count: int) -> tuple[Report, int]:
    from capreward.reports.scored_systems import pictures_of, references_by_key

    if all(column.per_caption is None for column in results.columns):
        return report, 0
    choice, offered = card_sections(results, count)
    sections = [section for section in offered if section.cards]
    pictures = thumbnails((card.key for section in sections for card in section.cards), pictures_of(results))
    deck = run_deck(choice, pictures, references_by_key(results))
    return replace(report, sections=sections, deck=deck), len(pictures)
