"""``capreward evaluate``: runs and captioners side by side on the same held-out items."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from capreward.commands.command import Command, joined_option
from capreward.commands.options import F, plugin_option
from capreward.commands.score_output import check_outputs, output_options, write_results
from capreward.errors import InputError
from capreward.plugins import load_plugins
from trainers.commands.decoding_options import constraint_options, constraints_of, running_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainers.comparison.evaluation import Evaluation
    from trainers.comparison.named_captioners import NamedCaptioner
    from trainers.runs.devices import DeviceOptions


def held_out_options(command: F) -> F:
    """Add the options that say what is captioned, how, and by which metrics it is judged."""
    for option in reversed(
        [
            joined_option("-m", "--metrics", help="Metrics in place of the usual ones, comma-separated; repeatable."),
            click.option("--data", help="Held-out captions and pictures: shards, a caption file, scenes:test."),
            click.option("-i", "--images", help="Pictures of --data: a folder, shards, a table or a feature store."),
            click.option("--split", help="Of a Karpathy file: test."),
            click.option("--count", type=click.IntRange(1), help="The first so many items alone."),
            click.option("--id-column", help="Of a table, if not recognised."),
            click.option("--caption-column", multiple=True, help="The column of captions; repeat it for several."),
            click.option("--image-column", help="Likewise."),
            click.option("--last", is_flag=True, help="The last captioner of each run, not the best."),
            click.option(
                "--beams",
                type=click.IntRange(1),
                help="Of the search.  [default: as the first run or its authors, or 5]",
            ),
            click.option("--max-length", type=click.IntRange(2), help="Tokens of a caption at most; likewise."),
            constraint_options,
            click.option("--tokenizer", default="ptb-joined", show_default=True, help="See capreward ls tokenizers."),
            click.option("--skip-broken", is_flag=True, help="Leave out items whose picture cannot be read."),
            running_options,
            plugin_option,
        ]
    ):
        command = option(command)
    return command


@click.command(cls=Command)
@click.argument("runs", nargs=-1, required=True)
@held_out_options
@output_options
def evaluate(runs: tuple[str, ...], **options: Any) -> None:
    """Evaluate RUNS, or captioners of any kind, side by side on the same held-out items.

    The items are those that the runs held out; for runs on scenes its test set. Metrics are cider and what the runs
    were evaluated by; on scenes cider, pacs, the held-out judge (a CLIP that no reward is made of), repetition,
    scene-facts and scene-grammar. The table goes to standard error, --json and its like to standard output, and
    evaluation.json into each run's folder.

    \b
    capreward evaluate runs/xe runs/scst-pacs runs/dico-pacs
    capreward evaluate runs/dico-pacs scenes --last --count 200 --json
    capreward evaluate runs/dico --data dataset_coco.json --split test --images coco/ -m cider,spice,pacs
    """
    from capreward.commands.progress import Bar
    from trainers.comparison.evaluation_files import evaluate_all
    from trainers.comparison.named_captioners import sources_of

    check_outputs(options)
    sources = sources_of(runs, last=options["last"])
    asked, running = asked_of(sources, options), running_of(options)
    with Bar(len(sources), hidden=options["quiet"]) as bar:
        results = evaluate_all(sources, asked, running, step=stepping(bar))
    write_results(results, options)
    if not options["quiet"]:
        for source in sources:
            if source.evaluation_file is not None:
                click.echo(f"{source.name}: kept in {source.evaluation_file}", err=True)


def asked_of(sources: Sequence[NamedCaptioner], options: dict[str, Any]) -> Evaluation:
    """What the flags ask of every captioner, the rest as the runs have it.

    Raises:
        InputError: items or metrics that cannot be told.
    """
    from trainers.comparison.evaluation import Evaluation, HeldOut, held_out_of, load_plugins_of, metrics_for

    load_plugins(options["plugin"])
    load_plugins_of(sources)
    of_data = ("images", "split", "id_column", "caption_column", "image_column")
    if options["data"] is not None:
        held_out = HeldOut(options["data"], count=options["count"], **{name: options[name] or None for name in of_data})
    else:
        given = {name: options[name] for name in of_data if options[name]}
        held_out = replace(held_out_of(sources, count=options["count"]), **given)
        if given and held_out.scenes:
            raise InputError(f"--{next(iter(given)).replace('_', '-')} belongs to --data; name the captions with it")
    return Evaluation(
        held_out,
        options["metrics"] or metrics_for(sources, held_out),
        labelled=options["metrics"] is None and held_out.scenes,
        tokenizer=options["tokenizer"],
        beams=options["beams"],
        max_length=options["max_length"],
        constraints=constraints_of(options),
        resamples=options["resamples"],
        seed=options["seed"],
    )


def running_of(options: dict[str, Any]) -> DeviceOptions:
    """Where and how captioners run.

    Raises:
        InputError: a device that is not here.
    """
    from capreward.encoders.pool import device_of
    from trainers.runs.devices import DeviceOptions

    names = ("precision", "batch_size", "workers", "download", "skip_broken")
    return DeviceOptions(device=device_of(options["device"]), **{name: options[name] for name in names})


def stepping(bar: Any) -> Any:
    """Tell a progress bar how far which system is."""

    def step(name: str, what: str, done: float, total: float) -> None:
        if bar.name != name:
            bar.start(name)
        bar.step(what, done, total)

    return step
