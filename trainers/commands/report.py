"""``capreward report``: curves, numbers and pictures of runs on one page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from capreward.commands.command import Command
from capreward.commands.options import F
from trainers.commands.evaluate import asked_of, held_out_options, running_of, stepping


def _intervals(command: F) -> F:
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
@_intervals
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

    check_report_path(options["output"])
    sources = sources_of(runs, last=options["last"])
    results = None
    if not options["curves_only"]:
        asked, running = asked_of(sources, options), running_of(options)
        with Bar(len(sources), hidden=options["quiet"]) as bar:
            results = evaluate_all(sources, asked, running, reuse=True, step=stepping(bar))
    shown = write_report(options["output"], sources, results, title=options["title"])
    if not options["quiet"]:
        click.echo(f"{shown:,} pictures shown in {options['output']}", err=True)
