"""``capreward evaluate``: runs and captioners side by side on the same held-out items."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from capreward.command_classes import Command, joined_option
from capreward.commands.options import F, plugin_option
from capreward.commands.score_output import (
    IntervalOptions,
    OutputOptions,
    check_outputs,
    output_options,
    write_results,
)
from capreward.errors import InputError
from capreward.plugins import load_plugins
from trainers.commands.decoding_options import (
    ConstraintOptions,
    RunningOptions,
    constraint_options,
    constraints_of,
    running_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from capreward.commands.progress import Bar
    from trainers.comparison.captioner_evaluation import Evaluation, HeldOut
    from trainers.comparison.named_captioners import NamedCaptioner
    from trainers.runs.devices import DeviceOptions


@dataclass(frozen=True)
class HeldOutOptions(ConstraintOptions, RunningOptions):
    """The options of ``held_out_options`` say what is captioned, how, and by which metrics it is judged.

    Attributes:
        metrics: These comma-separated metrics judge the captions; None means the usual metrics.
        data: The held-out captions and pictures lie here; None means the items that the runs held out.
        images: The pictures of ``data`` lie here; None leaves it to the data to name or hold them.
        split: The items of this split of a Karpathy file are taken; None reads a file that has no splits.
        count: So many items are taken, from the first on; None takes all of them.
        id_column: The column of this name holds the ids in a table; None means one of the usual names.
        caption_column: The columns of these names hold the captions in a table; an empty tuple means the usual names.
        image_column: The column of this name holds the pictures in a table; None means one of the usual names.
        last: True evaluates the last captioner of each run, and False the best one.
        beams: The beam search keeps so many beams; None leaves it to the first run or its authors.
        max_length: A caption has at most so many tokens; None leaves it to the first run or its authors.
        tokenizer: Captions and references go through the tokenizer of this name before they are judged.
        skip_broken: True leaves out items whose picture cannot be read, and False refuses them.
        plugin: These Python files of reward functions are loaded first.
    """

    metrics: str | None
    data: str | None
    images: str | None
    split: str | None
    count: int | None
    id_column: str | None
    caption_column: tuple[str, ...]
    image_column: str | None
    last: bool
    beams: int | None
    max_length: int | None
    tokenizer: str
    skip_broken: bool
    plugin: tuple[Path, ...]


@dataclass(frozen=True)
class EvaluationOptions(HeldOutOptions, IntervalOptions):
    """An evaluation of captioners has these options, whatever a command then makes of its results."""


@dataclass(frozen=True)
class EvaluateOptions(EvaluationOptions, OutputOptions):
    """These are the options of ``capreward evaluate``."""


def held_out_options(command: F) -> F:
    """Add the options of ``HeldOutOptions``, which say what is captioned, how, and by which metrics it is judged."""
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

    given = EvaluateOptions.of(options)
    check_outputs(given)
    sources = sources_of(runs, last=given.last)
    evaluation, devices = evaluation_of(sources, given), device_options_of(given)
    with Bar(len(sources), hidden=given.quiet) as bar:
        results = evaluate_all(sources, evaluation, devices, step=stepping(bar))
    write_results(results, given)
    if not given.quiet:
        for source in sources:
            if source.evaluation_file is not None:
                click.echo(f"{source.name}: kept in {source.evaluation_file}", err=True)


def evaluation_of(sources: Sequence[NamedCaptioner], options: EvaluationOptions) -> Evaluation:
    """Return what the options ask of every captioner; the rest is as the runs have it.

    Raises:
        InputError: The options and the runs do not say which items or metrics are meant.
    """
    from trainers.comparison.captioner_evaluation import Evaluation, load_plugins_of, metrics_for

    load_plugins(options.plugin)
    load_plugins_of(sources)
    held_out = _held_out(sources, options)
    return Evaluation(
        held_out,
        options.metrics or metrics_for(sources, held_out),
        labelled=options.metrics is None and held_out.scenes,
        tokenizer=options.tokenizer,
        beams=options.beams,
        max_length=options.max_length,
        constraints=constraints_of(options),
        resamples=options.resamples,
        seed=options.seed,
    )


def _held_out(sources: Sequence[NamedCaptioner], options: HeldOutOptions) -> HeldOut:
    """Return the items that the options name, or else those that the runs held out."""
    from trainers.comparison.captioner_evaluation import HeldOut, held_out_of

    if options.data is not None:
        base = HeldOut(options.data, count=options.count)
    else:
        base = held_out_of(sources, count=options.count)
        if base.scenes:
            _refuse_places(options)
    return replace(
        base,
        images=options.images or base.images,
        split=options.split or base.split,
        id_column=options.id_column or base.id_column,
        caption_column=options.caption_column or base.caption_column,
        image_column=options.image_column or base.image_column,
    )


def _refuse_places(options: HeldOutOptions) -> None:
    """Refuse options that say where the captions and pictures of data are, where no data are named."""
    places = {
        "images": options.images,
        "split": options.split,
        "id-column": options.id_column,
        "caption-column": options.caption_column,
        "image-column": options.image_column,
    }
    given = next((flag for flag, value in places.items() if value), None)
    if given is not None:
        raise InputError(f"--{given} belongs to --data; name the captions with it")


def device_options_of(options: HeldOutOptions) -> DeviceOptions:
    """Return where and how captioners run.

    Raises:
        InputError: The device is not here.
    """
    from capreward.encoders.pool import device_of
    from trainers.runs.devices import DeviceOptions

    return DeviceOptions(
        device=device_of(options.device),
        precision=options.precision,
        batch_size=options.batch_size,
        workers=options.workers,
        download=options.download,
        skip_broken=options.skip_broken,
    )


def stepping(bar: Bar) -> Callable[[str, str, float, float], None]:
    """Return a function that tells a progress bar how far which system is."""

    def step(name: str, what: str, done: float, total: float) -> None:
        if bar.name != name:
            bar.start(name)
        bar.step(what, done, total)

    return step
