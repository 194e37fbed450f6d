"""``capreward score``: caption files in, numbers with intervals and signatures out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.commands.options import image_options, input_options, plugin_option, plugins
from capreward.errors import InputError

if TYPE_CHECKING:
    from capreward.reports.results import Results, SystemResult


@click.command()
@click.argument("captions", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-r",
    "--references",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Reference file; repeatable. Or scenes, for captions of its pictures.",
)
@click.option(
    "-m",
    "--metrics",
    help="Comma-separated metrics or expressions. Default: bleu,rouge,cider with references, clips with images, "
    "refclips too with both.",
)
@image_options
@input_options
@click.option("--allow-missing", is_flag=True, help="Leave out captions without references or images.")
@click.option("--multiple", is_flag=True, help="Each image may have several captions (diversity metrics).")
@click.option(
    "--drop-candidate-from-references", is_flag=True, help="Remove references equal to a candidate of their image."
)
@plugin_option
@click.option(
    "--resamples", default=1000, show_default=True, type=click.IntRange(0), help="Of the interval; 0 for none."
)
@click.option("--seed", default=12345, show_default=True, type=click.IntRange(0), help="Of the interval's generator.")
@click.option("--percent", is_flag=True, help="Values times 100 in tables, as most papers print them.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
@click.option("--markdown", "as_markdown", is_flag=True, help="A Markdown table on standard output.")
@click.option("--latex", "as_latex", is_flag=True, help="A LaTeX table on standard output.")
@click.option(
    "--per-caption", type=click.Path(path_type=Path), help="Write each caption's values: .jsonl, .csv, .parquet."
)
@click.option(
    "--gallery", type=click.Path(path_type=Path), help="Write best, worst and disputed captions with pictures: .html."
)
@click.option("-q", "--quiet", is_flag=True, help="No table and no progress on standard error.")
def score(captions: tuple[Path, ...], **options: Any) -> None:
    """Score caption files, side by side, against references, images or both.

    Tables go to standard error; --json, --markdown and --latex go to standard output.

    \b
    capreward score captions.json --references refs.json
    capreward score captions.json -r refs.json --images photos/ -m cider,clips,refclips,pacs
    capreward score xe.json rl.json -r refs.json -m bleu,meteor,rouge,cider --percent
    capreward score captions.json -r dataset_coco.json --split test --json
    capreward score captions.json -r refs.json -m "cider-d(df=coco.npz) - 0.5*repetition"
    """
    if options["per_caption"] is not None:
        from capreward.reports.files import check_per_caption_path

        check_per_caption_path(options["per_caption"])
    if options["gallery"] is not None:
        from capreward.reports.gallery import check_gallery_path

        check_gallery_path(options["gallery"])
    plugins(options["plugin"])
    results = _results(captions, options)
    _write(results, options)


def _results(captions: tuple[Path, ...], options: dict[str, Any]) -> Results:
    from capreward.commands.progress import Bar
    from capreward.commands.score_inputs import evaluators_of, names_of, references_of, system_of
    from capreward.reports.results import Bootstrap, Results

    found = evaluators_of(options)
    references = references_of(options)
    bootstrap = Bootstrap(options["resamples"], seed=options["seed"]) if options["resamples"] else None
    systems: list[SystemResult] = []
    notes: list[tuple[str, str]] = []
    with Bar(len(captions), hidden=options["quiet"]) as bar:
        for name, path in zip(names_of(captions), captions, strict=True):
            bar.start(name)
            before = systems[-1].samples if systems else None
            system, remarks = system_of(name, path, found, references, bootstrap, options, bar, before)
            systems.append(system)
            notes += [(name, remark) for remark in remarks]
    return Results(systems, bootstrap, _merged(notes, len(systems)))


def _merged(notes: list[tuple[str, str]], n_systems: int) -> list[str]:
    """Each remark once: under its system's name, or alone where all systems share it."""
    owners: dict[str, list[str]] = {}
    for name, remark in notes:
        owners.setdefault(remark, []).append(name)
    return [
        remark if len(names) == n_systems > 1 else f"{', '.join(names)}: {remark}" for remark, names in owners.items()
    ]


def _write(results: Results, options: dict[str, Any]) -> None:
    from capreward.reports import tables

    written = []
    if options["per_caption"] is not None:
        from capreward.reports.files import write_per_caption

        rows = write_per_caption(results, options["per_caption"])
        written.append(f"{rows:,} rows written to {options['per_caption']}")
    if options["gallery"] is not None:
        from capreward.commands.score_inputs import pictures_of, references_by_key
        from capreward.reports.gallery import write_gallery

        if all(s.samples is None or s.samples.images is None for s in results.systems):
            raise InputError("--gallery shows captions with their pictures; give --images FOLDER")
        shown = write_gallery(options["gallery"], results, pictures_of(results), references_by_key(results))
        written.append(f"{shown:,} images shown in {options['gallery']}")
    if not options["quiet"]:
        _show(results, percent=options["percent"])
        for line in written:
            click.echo(line, err=True)
    if options["as_json"]:
        import json

        click.echo(json.dumps(results.to_dict(), indent=2, ensure_ascii=False))
    if options["as_markdown"]:
        click.echo(tables.markdown(results, percent=options["percent"]), nl=False)
    if options["as_latex"]:
        click.echo(tables.latex(results, percent=options["percent"]), nl=False)


def _show(results: Results, *, percent: bool) -> None:
    """Table, matches, signatures and notes on standard error."""
    from rich.console import Console
    from rich.text import Text

    from capreward.reports.tables import rich_table

    wide = None if sys.stderr.isatty() else 1000  # a log has no width to fit into
    console = Console(file=sys.stderr, highlight=False, width=wide)
    console.print(rich_table(results, percent=percent))
    console.print()
    for system in results.systems:
        if system.matched:
            console.print(Text(f"{system.name}: {system.matched}", style="dim"))
    for note in results.notes:
        console.print(Text(f"note: {note}", style="yellow"))
    if results.bootstrap is not None:
        console.print(Text(f"[low, high]: {results.bootstrap}", style="dim"))
    for signature in results.signatures():
        console.print(Text(signature, style="dim"))
