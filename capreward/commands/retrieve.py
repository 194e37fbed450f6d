"""``capreward retrieve``: find images by their captions and captions by their images, as a table of recalls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.command_classes import Command
from capreward.commands.caption_options import ReadingOptions, read_caption_file, reading_of_captions, split_option
from capreward.commands.image_options import (
    ImageOptions,
    WeightsOptions,
    evaluator_settings,
    image_column_of_captions,
    image_options,
    names_images,
    weights_options,
)
from capreward.commands.score_output import OutputOptions, bootstrap_of, check_outputs, output_options, write_results
from capreward.errors import InputError

if TYPE_CHECKING:
    from capreward.data import CaptionTable
    from capreward.evaluators.base import Evaluator
    from capreward.reports.results import Results, SystemResult
    from capreward.samples import Samples


@dataclass(frozen=True)
class RetrieveOptions(WeightsOptions, ImageOptions, ReadingOptions, OutputOptions):
    """These are the options of ``capreward retrieve``.

    Attributes:
        base: The image tower of this CLIP completes weights that have none; None means that the weights are complete.
        prompt: These words stand before every caption; None means no words.
        ties: The right image or caption stands last among those of the same score for ``pessimistic``, in the middle
            for ``mean``, and first for ``optimistic``.
        first: True counts only the first caption of each image.
        split: The captions of this split are read, such as those of ``test``; None reads a file that has no splits.
        allow_missing: True leaves out captions without images, and False refuses them.
    """

    base: str | None
    prompt: str | None
    ties: str
    first: bool
    split: str | None
    allow_missing: bool


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
    given = RetrieveOptions.of(options)
    check_outputs(given)
    write_results(_results_of(captions, given), given)


def _results_of(captions: tuple[Path, ...], options: RetrieveOptions) -> Results:
    """Rank the files of captions one after the other."""
    from capreward.commands.progress import Bar
    from capreward.commands.score_inputs import names_of
    from capreward.reports.results import Results
    from capreward.reports.scored_systems import merged_notes, score_system

    evaluator = _evaluator(options)
    bootstrap = bootstrap_of(options)
    systems: list[SystemResult] = []
    notes: list[tuple[str, str]] = []
    with Bar(len(captions), hidden=options.quiet) as bar:
        for name, path in zip(names_of(captions), captions, strict=True):
            bar.start(name)
            samples, matched = _samples_of_file(path, options)
            if systems and systems[-1].samples is not None:
                samples.share_items(systems[-1].samples)
            systems.append(score_system(name, samples, [evaluator], bootstrap, matched, progress=bar.step))
            notes += [(name, remark) for remark in systems[-1].scores.notes]
    remarks = merged_notes(notes, len(systems))
    if len({dict(c.signature.fields)["gallery"] for s in systems for c in s.scores.columns()}) > 1:
        remarks.append("the files hold different numbers of images or captions: their ranks do not compare")
    return Results(systems, bootstrap, remarks)


def _evaluator(options: RetrieveOptions) -> Evaluator:
    """Return the evaluator that ranks."""
    from capreward.scoring import load

    own = {
        "checkpoint": options.checkpoint,
        "family": options.family,
        "variant": options.variant,
        "prompt": options.prompt,
        "ties": options.ties,
        "base": options.base,
    }
    given = {name: value for name, value in own.items() if value is not None}
    return load("retrieval", **given, **evaluator_settings(options))


def _samples_of_file(path: Path, options: RetrieveOptions) -> tuple[Samples, str]:
    """Return the captions of a file with their images and notes, and a sentence on how they matched."""
    from capreward.commands.score_inputs import matched_pictures
    from capreward.data import match
    from capreward.scoring import samples_of

    table = read_caption_file(path, options, split=options.split, image_column=image_column_of_captions(options))
    table = _first_captions(table) if options.first else table
    matched = match(table, None, multiple=True)
    try:
        pictures = matched_pictures(matched, table, options, allow_missing=options.allow_missing)
    except InputError as error:
        if names_images(options):
            raise
        raise InputError(f"{path}: the images are needed; give --images FOLDER ({error})") from error
    return samples_of(pictures.matched, pictures.images, notes=pictures.notes), f"{matched.report}; {pictures.report}"


def _first_captions(table: CaptionTable) -> CaptionTable:
    """Return the table with the first caption of each image alone."""
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
