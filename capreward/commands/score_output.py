"""What commands that score say at the end: tables for people, data for machines, files, and the options of it all."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from capreward.commands.options import CommandOptions, F
from capreward.errors import InputError

if TYPE_CHECKING:
    from capreward.reports.results import Bootstrap, Results


@dataclass(frozen=True)
class IntervalOptions(CommandOptions):
    """These options say how the intervals of scores are estimated.

    Attributes:
        resamples: So many resamples make an interval; 0 makes no interval.
        seed: The generator that draws the resamples starts from this seed.
    """

    resamples: int
    seed: int


@dataclass(frozen=True)
class OutputOptions(IntervalOptions):
    """The options of ``output_options`` say how scores are shown and kept.

    Attributes:
        percent: True shows values times 100 in tables.
        as_json: True writes the results to standard output as JSON.
        as_markdown: True writes the results to standard output as a Markdown table.
        as_latex: True writes the results to standard output as a LaTeX table.
        per_caption: Each caption's values are written to this file; None writes no such file.
        gallery: Captions are shown with their pictures in this file; None writes no such file.
        quiet: True writes no table and no progress to standard error.
    """

    percent: bool
    as_json: bool
    as_markdown: bool
    as_latex: bool
    per_caption: Path | None
    gallery: Path | None
    quiet: bool


def output_options(command: F, *, percent: bool = True, gallery: bool = True) -> F:
    """Add the options that say how scores are shown and kept, which are those of ``OutputOptions``.

    Args:
        command: The options are added to this command.
        percent: True adds ``--percent``; a command without this option always shows values times 100.
        gallery: True adds ``--gallery``, which needs pictures.
    """
    of_percent = click.option("--percent", is_flag=True, help="Values times 100 in tables, as most papers print them.")
    of_gallery = click.option(
        "--gallery",
        type=click.Path(path_type=Path),
        help="Write best, worst and disputed captions with pictures: .html.",
    )
    for option in reversed(
        [
            click.option(
                "--resamples",
                default=1000,
                show_default=True,
                type=click.IntRange(0),
                help="Of the interval; 0 for none.",
            ),
            click.option(
                "--seed", default=12345, show_default=True, type=click.IntRange(0), help="Of the interval's generator."
            ),
            *([of_percent] if percent else []),
            click.option("--json", "as_json", is_flag=True, help="JSON on standard output."),
            click.option("--markdown", "as_markdown", is_flag=True, help="A Markdown table on standard output."),
            click.option("--latex", "as_latex", is_flag=True, help="A LaTeX table on standard output."),
            click.option(
                "--per-caption",
                type=click.Path(path_type=Path),
                help="Write each caption's values: .jsonl, .csv, .parquet.",
            ),
            *([of_gallery] if gallery else []),
            click.option("-q", "--quiet", is_flag=True, help="No table and no progress on standard error."),
        ]
    ):
        command = option(command)
    return command


def bootstrap_of(options: IntervalOptions) -> Bootstrap | None:
    """Return the bootstrap that estimates the intervals, or None where no intervals are wanted."""
    from capreward.reports.results import Bootstrap

    return Bootstrap(options.resamples, seed=options.seed) if options.resamples else None


def check_outputs(options: OutputOptions) -> None:
    """Refuse files that cannot be written, before any work is done.

    Raises:
        InputError: A file cannot be written; the message names it.
    """
    if options.per_caption is not None:
        from capreward.reports.output_files import check_per_caption_path

        check_per_caption_path(options.per_caption)
    if options.gallery is not None:
        from capreward.reports.gallery import check_gallery_path

        check_gallery_path(options.gallery)


def write_results(results: Results, options: OutputOptions) -> None:
    """Write the files that the user wants, the table to standard error, and data to standard output.

    Raises:
        InputError: A file cannot be written, or a gallery has no pictures.
    """
    written = _write_files(results, options)
    if not options.quiet:
        show_results(results, percent=options.percent)
        for line in written:
            click.echo(line, err=True)
    from capreward.reports import tables

    if options.as_json:
        import json

        click.echo(json.dumps(results.to_dict(), indent=2, ensure_ascii=False))
    if options.as_markdown:
        click.echo(tables.markdown(results, percent=options.percent), nl=False)
    if options.as_latex:
        click.echo(tables.latex(results, percent=options.percent), nl=False)


def _write_files(results: Results, options: OutputOptions) -> list[str]:
    """Write the files that the user wants, and return a line about each of them."""
    lines = []
    if options.per_caption is not None:
        from capreward.reports.output_files import write_per_caption

        rows = write_per_caption(results, options.per_caption)
        lines.append(f"{rows:,} rows written to {options.per_caption}")
    if options.gallery is not None:
        images = _write_gallery(results, options.gallery)
        lines.append(f"{images:,} images shown in {options.gallery}")
    return lines


def _write_gallery(results: Results, path: Path) -> int:
    """Write the page of captions with their pictures, and return the number of images on it."""
    from capreward.reports.gallery import write_gallery
    from capreward.reports.systems import pictures_of, references_by_key

    if all(s.samples is None or s.samples.images is None for s in results.systems):
        raise InputError("--gallery shows captions with their pictures; give --images FOLDER")
    known = [zip(s.samples.key, s.samples.images or [], strict=False) for s in results.systems if s.samples]
    pictured = {key for system in known for key, image in system if image is not None}
    return write_gallery(path, results, pictures_of(results), references_by_key(results), pictured=pictured)


def show_results(results: Results, *, percent: bool) -> None:
    """Show the table, the matches, the signatures and the notes of results on standard error."""
    from rich.console import Console
    from rich.text import Text

    from capreward.reports.tables import rich_table

    wide = None if sys.stderr.isatty() else 1000  # a log has no width to fit into
    console = Console(file=sys.stderr, highlight=False, width=wide)
    for report in results.files():
        console.print(Text(str(report), style="dim"))
    console.print(rich_table(results, percent=percent))
    console.print()
    for system in results.systems:
        if system.matched:
            console.print(Text(f"{system.name}: {system.matched}", style="dim"))
    for note in results.all_notes:
        console.print(Text(f"note: {note}", style="yellow"))
    if results.bootstrap is not None:
        console.print(Text(f"[low, high]: {results.bootstrap}", style="dim"))
    for signature in results.signatures():
        console.print(Text(signature, style="dim"))
