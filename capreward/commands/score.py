"""``capreward score``: caption files in, numbers with intervals and signatures out."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.commands.options import input_options, plugin_option, plugins, reading
from capreward.errors import InputError
from capreward.scoring import DEFAULT_METRICS

if TYPE_CHECKING:
    from capreward.data import CaptionTable, References
    from capreward.reports.results import Bootstrap, Results, SystemResult


@click.command()
@click.argument("captions", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-r", "--references", multiple=True, type=click.Path(path_type=Path), help="Reference file; repeatable.")
@click.option(
    "-m", "--metrics", default=DEFAULT_METRICS, show_default=True, help="Comma-separated metrics or expressions."
)
@input_options
@click.option("--allow-missing", is_flag=True, help="Leave out captions without references.")
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
@click.option("-q", "--quiet", is_flag=True, help="No table and no progress on standard error.")
def score(captions: tuple[Path, ...], **options: Any) -> None:
    """Score caption files, side by side, against references.

    Tables go to standard error; --json, --markdown and --latex go to standard output.

    \b
    capreward score captions.json --references refs.json
    capreward score xe.json rl.json -r refs.json -m bleu,meteor,rouge,cider --percent
    capreward score captions.json -r dataset_coco.json --split test --json
    capreward score captions.json -r refs.json -m "cider-d(df=coco.npz) - 0.5*repetition"
    """
    if options["per_caption"] is not None:
        from capreward.reports.files import check_per_caption_path

        check_per_caption_path(options["per_caption"])
    plugins(options["plugin"])
    results = _results(captions, options)
    _write(results, options)


def _results(captions: tuple[Path, ...], options: dict[str, Any]) -> Results:
    from capreward.commands.progress import Bar
    from capreward.reports.results import Bootstrap, Results
    from capreward.scoring import load_list

    found = load_list(options["metrics"], tokenizer=options["tokenizer"])
    references = _references(options)
    bootstrap = Bootstrap(options["resamples"], seed=options["seed"]) if options["resamples"] else None
    systems, notes = [], []
    with Bar(len(captions), hidden=options["quiet"]) as bar:
        for name, path in zip(_names(captions), captions, strict=True):
            bar.start(name)
            system, found_notes = _system(name, path, found, references, bootstrap, options, bar)
            systems.append(system)
            notes += [f"{name}: {note}" for note in found_notes]
    return Results(systems, bootstrap, notes)


def _references(options: dict[str, Any]) -> References | None:
    if not options["references"]:
        return None
    from capreward.data import read_references

    return read_references(list(options["references"]), **reading(options, of_references=True))


def _system(
    name: str,
    path: Path,
    found: Any,
    references: References | None,
    bootstrap: Bootstrap | None,
    options: dict[str, Any],
    bar: Any,
) -> tuple[SystemResult, list[str]]:
    import numpy as np

    from capreward.data import match
    from capreward.reports.results import SystemResult
    from capreward.scoring import evaluate, samples_of
    from capreward.stats.bootstrap import intervals

    table, known = _candidates(path, found, references, options)
    met = match(table, known, allow_missing=options["allow_missing"], multiple=options["multiple"])
    samples = samples_of(met)
    drop = options["drop_candidate_from_references"]
    scores = evaluate(found, samples, drop_candidate_from_references=drop, progress=bar.step)
    drawn = intervals(scores.columns(), **asdict(bootstrap)) if bootstrap else {}
    n_images = len(np.unique(samples.item))
    return SystemResult(name, scores, drawn, n_images, met.report), list(met.notes)


def _candidates(
    path: Path, found: Any, references: References | None, options: dict[str, Any]
) -> tuple[CaptionTable, References | None]:
    """The captions, and their references: those given, or a column of the same file where a metric needs any."""
    from capreward.data import read_captions, read_captions_with_references

    how = reading(options, of_references=False)
    needing = [e.name for e in found if "references" in e.needs]
    if references is not None or not needing:
        return read_captions(path, **how), references
    try:
        return read_captions_with_references(path, **how)
    except InputError as error:
        read_captions(path, **how)  # a file that cannot be read at all is the thing to say first
        raise InputError(f"{needing[0]} needs references; give --references FILE") from error


def _names(paths: tuple[Path, ...]) -> list[str]:
    """File names without suffix where that tells the systems apart, whole paths otherwise."""
    stems = [p.name.split(".")[0] or p.name for p in paths]
    if len(set(stems)) == len(stems):
        return stems
    names = [str(p) for p in paths]
    if len(set(names)) < len(names):
        raise InputError(f"{next(n for n in names if names.count(n) > 1)} is given twice; name each caption file once")
    return names


def _write(results: Results, options: dict[str, Any]) -> None:
    from capreward.reports import tables

    if options["per_caption"] is not None:
        from capreward.reports.files import write_per_caption

        rows = write_per_caption(results, options["per_caption"])
        if not options["quiet"]:
            click.echo(f"{rows:,} rows written to {options['per_caption']}", err=True)
    if not options["quiet"]:
        _show(results, percent=options["percent"])
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
