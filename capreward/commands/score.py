"""``capreward score``: caption files in, numbers with intervals and signatures out."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.command_classes import Command, joined_option
from capreward.commands.caption_options import input_options
from capreward.commands.image_options import image_options
from capreward.commands.options import plugin_option
from capreward.commands.score_inputs import ReferenceFiles, ScoreOptions, evaluators_of, names_of, samples_of_file
from capreward.commands.score_output import bootstrap_of, check_outputs, output_options, write_results
from capreward.plugins import load_plugins

if TYPE_CHECKING:
    from capreward.reports.results import Results, SystemResult


@click.command(cls=Command)
@click.argument("captions", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-r",
    "--references",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Reference file; repeatable. Or scenes, for captions of its pictures.",
)
@joined_option(
    "-m",
    "--metrics",
    help="Comma-separated metrics or expressions; repeatable. coco is bleu,meteor,rouge,cider. Default: "
    "bleu,rouge,cider with references, clips with images, refclips too with both.",
)
@image_options
@input_options
@click.option("--allow-missing", is_flag=True, help="Leave out captions without references or images.")
@click.option("--common", is_flag=True, help="Score the images alone that all caption files describe.")
@click.option("--multiple", is_flag=True, help="Each image may have several captions (diversity metrics).")
@click.option(
    "--drop-candidate-from-references", is_flag=True, help="Remove references equal to a candidate of their image."
)
@plugin_option
@output_options
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
    given = ScoreOptions.of(options)
    check_outputs(given)
    load_plugins(given.plugin)
    with _few_collections():
        results = _results_of(captions, given)
    write_results(results, given)


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let Python look for garbage seldom while a file is read.

    Reading makes many small objects that live to the end, and none of them is garbage.
    """
    usual = gc.get_threshold()
    gc.set_threshold(200_000, 50, 50)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _results_of(captions: tuple[Path, ...], options: ScoreOptions) -> Results:
    """Score the files of captions one after the other."""
    from capreward.commands.progress import Bar
    from capreward.common_images import restrict_to_common
    from capreward.reports.results import Results
    from capreward.reports.scored_systems import merged_notes, score_system

    evaluators, remarks = evaluators_of(options)
    references = ReferenceFiles(options)
    bootstrap = bootstrap_of(options)
    systems: list[SystemResult] = []
    notes: list[tuple[str, str]] = []
    names = names_of(captions)
    read = [samples_of_file(path, evaluators, references, options) for path in captions]
    everything = [samples for samples, _ in read]
    if options.common:
        everything, left_out = restrict_to_common(everything)
        notes += [(name, note) for name, note in zip(names, left_out, strict=True) if note]
    drop = options.drop_candidate_from_references
    with Bar(len(captions), hidden=options.quiet) as bar:
        for name, samples, (_, matched) in zip(names, everything, read, strict=True):
            bar.start(name)
            if systems and options.images:
                samples.share_items(everything[len(systems) - 1])  # these items need no second encoding
            systems.append(score_system(name, samples, evaluators, bootstrap, matched, drop=drop, progress=bar.step))
            notes += [(name, remark) for remark in systems[-1].scores.notes]
    results = Results(systems, bootstrap, [*remarks, *merged_notes(notes, len(systems))])
    if results.footnote is None:
        return results
    return replace(results, notes=["--common scores the images alone that all caption files describe", *results.notes])
