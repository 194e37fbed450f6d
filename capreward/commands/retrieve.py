"""``capreward retrieve``: find images by their captions and captions by their images, as a table of recalls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.commands.command import Command
from capreward.commands.options import (
    encoding,
    image_options,
    reading,
    reading_of_captions,
    showing,
    split_option,
    weights_options,
)
from capreward.commands.score_output import check_outputs, output_options, write_results
from capreward.errors import InputError
from capreward.reports.systems import merged_notes

if TYPE_CHECKING:
    from capreward.commands.progress import Bar
    from capreward.data import CaptionTable
    from capreward.evaluators.base import Evaluator
    from capreward.reports.results import Bootstrap, Results, SystemResult
    from capreward.samples import Samples


@click.command(cls=Command)
@click.argument("captions", nargs=-1, required=True, type=click.Path(path_type=Path))
@weights_options
@click.option("--base", metavar="WEIGHTS", help="The CLIP whose image tower completes weights without one.")
@click.option("--prompt", help="Put before captions.  [default: none, as published]")
@click.option(
    "--ties",
    type=click.Choice(["pessimistic", "mean", "optimistic"]),
    default="pessimistic",
    show_default=True,
    help="Where others of the same score stand: before, around or after the right one.",
)
@click.option("--first", is_flag=True, help="The first caption of each image alone (of a file of references).")
@image_options
@reading_of_captions
@split_option("captions")
@click.option("--allow-missing", is_flag=True, help="Leave out captions without images.")
@output_options
def retrieve(captions: tuple[Path, ...], **options: Any) -> None:
    """Find images by their captions, and captions by their images: R@1, 5, 10, 50, ranks and MRR, both ways.

    Each caption looks for its image among all images of the file, each image for any of its captions among all
    captions. A file of references is a file of captions.

    \b
    capreward retrieve captions.json --images photos/
    capreward retrieve xe.json dico.json --images val2014/ --percent --latex
    capreward retrieve dataset_coco.json --split test --first --images coco.features
    """
    check_outputs(options)
    write_results(_results(captions, options), options)


def _results(captions: tuple[Path, ...], options: dict[str, Any]) -> Results:
    from capreward.commands.progress import Bar
    from capreward.commands.score_inputs import names_of
    from capreward.reports.results import Bootstrap, Results

    evaluator = _evaluator(options)
    bootstrap = Bootstrap(options["resamples"], seed=options["seed"]) if options["resamples"] else None
    systems: list[SystemResult] = []
    notes: list[tuple[str, str]] = []
    with Bar(len(captions), hidden=options["quiet"]) as bar:
        for name, path in zip(names_of(captions), captions, strict=True):
            bar.start(name)
            before = systems[-1].samples if systems else None
            system, remarks = _system(name, path, evaluator, bootstrap, options, bar, before)
            systems.append(system)
            notes += [(name, remark) for remark in remarks]
    said = merged_notes(notes, len(systems))
    if len({dict(c.signature.fields)["gallery"] for s in systems for c in s.scores.columns()}) > 1:
        said.append("the files hold different numbers of images or captions: their ranks do not compare")
    return Results(systems, bootstrap, said)


def _evaluator(options: dict[str, Any]) -> Evaluator:
    from capreward.scoring import load

    named = ("checkpoint", "family", "variant", "prompt", "ties", "base")
    given = {**{name: options[name] for name in named}, **encoding(options)}
    return load("retrieval", **{name: value for name, value in given.items() if value is not None})


def _system(
    name: str,
    path: Path,
    evaluator: Evaluator,
    bootstrap: Bootstrap | None,
    options: dict[str, Any],
    bar: Bar,
    before: Samples | None,
) -> tuple[SystemResult, list[str]]:
    """Rank one file; the result and the notes on it."""
    from capreward.data import match, read_captions
    from capreward.data.picture_match import match_pictures
    from capreward.reports.systems import score_system
    from capreward.scoring import samples_of

    table = read_captions(path, split=options["split"], **reading(options, of_references=False))
    table = _first(table) if options["first"] else table
    met = match(table, None, multiple=True)
    try:
        shown = match_pictures(
            met, table, options["images"], allow_missing=options["allow_missing"], **showing(options)
        )
    except InputError as error:
        if options["images"] or options["image_column"] is not None:
            raise
        raise InputError(f"{path}: the images are needed; give --images FOLDER ({error})") from error
    samples = samples_of(shown.matched, shown.images, notes=shown.notes)
    if before is not None:
        samples.share_items(before)
    result = score_system(name, samples, [evaluator], bootstrap, f"{met.report}; {shown.report}", progress=bar.step)
    return result, result.scores.notes


def _first(table: CaptionTable) -> CaptionTable:
    """The first caption of each image."""
    first: dict[str, int] = {}
    for row, key in enumerate(table.keys):
        first.setdefault(key, row)
    rows = list(first.values())
    return replace(
        table,
        keys=list(first),
        captions=[table.captions[row] for row in rows],
        positions=[table.positions[row] for row in rows],
    )
