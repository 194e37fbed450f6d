"""``capreward report``: curves, numbers and pictures of runs on one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from capreward.command_classes import Command
from capreward.commands.options import F
from trainers.commands.evaluate import (
    EvaluationOptions,
    device_options_of,
    evaluation_of,
    held_out_options,
    stepping,
)


@dataclass(frozen=True)
class ReportOptions(EvaluationOptions):
    """These are the options of ``capreward report``.

    Attributes:
        output: The page is written to this .html file.
        title: The page has this title; None means the usual title.
        curves_only: True evaluates nothing and shows curves and settings alone.
        quiet: True writes nothing to standard error.
    """

    output: Path
    title: str | None
    curves_only: bool
    quiet: bool


def _interval_options(command: F) -> F:
    """Add the options that say how intervals are estimated, which are those of ``IntervalOptions``."""
    for option in (
        click.option("--seed", default=12345, show_default=True, type=click.IntRange(0), help="Of the intervals."),
        click.option(
            "--resamples", default=1000, show_default=True, type=click.IntRange(0), help="Of the intervals; 0 for none."
        ),
    ):
        command = option(command)
    return command


@click.command(cls=Command)
@click.argument("runs", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The page, a .html file.",
)
@click.option("--title", help="Of the page.")
@click.option("--curves-only", is_flag=True, help="Evaluate nothing: curves and settings alone.")
@held_out_options
@_interval_options
@click.option("-q", "--quiet", is_flag=True, help="Nothing on standard error.")
def report(runs: tuple[str, ...], **options: Any) -> None:
    """Write an HTML page about RUNS: their evaluation, curves, captioned pictures and settings.

    Runs are evaluated as by capreward evaluate, with the same options; an evaluation.json that asked the same of the
    same weights is taken as it is. Captioners that are no runs (scenes) stand beside them without curves. The page is
    one file that loads nothing.

    \b
    capreward report runs/xe runs/scst-pacs runs/dico-pacs -o report.html
    capreward report runs/dico-pacs --curves-only
    """
    from capreward.commands.progress import Bar
    from trainers.comparison.evaluation_files import evaluate_all
    from trainers.comparison.named_captioners import sources_of
    from trainers.reports.report_file import check_report_path, write_report

    given = ReportOptions.of(options)
    check_report_path(given.output)
    sources = sources_of(runs, last=given.last)
    results = None
    if not given.curves_only:
        evaluation, devices = evaluation_of(sources, given), device_options_of(given)
        with Bar(len(sources), hidden=given.quiet) as bar:
            results = evaluate_all(sources, evaluation, devices, reuse=True, step=stepping(bar))
    shown = write_report(given.output, sources, results, title=given.title)
    if not given.quiet:
        click.echo(f"{shown:,} pictures shown in {given.output}", err=True)
