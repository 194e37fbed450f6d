"""``capreward score``: caption files in, numbers with intervals and signatures out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.commands.options import image_options, input_options, plugin_option, plugins
from capreward.commands.score_output import check_outputs, merged_notes, output_options, write_results

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
    check_outputs(options)
    plugins(options["plugin"])
    results = _results(captions, options)
    write_results(results, options)


def _results(captions: tuple[Path, ...], options: dict[str, Any]) -> Results:
    from capreward.commands.progress import Bar
    from capreward.commands.score_inputs import ReferenceFiles, evaluators_of, names_of, system_of
    from capreward.reports.results import Bootstrap, Results

    found = evaluators_of(options)
    references = ReferenceFiles(options)
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
    return Results(systems, bootstrap, merged_notes(notes, len(systems)))
