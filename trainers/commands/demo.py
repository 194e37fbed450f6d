"""``capreward demo``: two ways to train a captioner against a reward, compared on drawn pictures in minutes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.command_classes import Command
from capreward.commands.options import CommandOptions
from capreward.errors import InputError

if TYPE_CHECKING:
    from capreward.reports.results import Results
    from trainers.comparison.named_captioners import NamedCaptioner
    from trainers.runs.config import RunConfig
    from trainers.runs.folder import RunFolder

REWARD = "pacs"
WAYS = ("dico", "scst")
BATCH = 16  # pictures per step, of the recipes
SECONDS = {"xe": 0.35, "dico": 0.5, "scst": 0.45}  # of a step, on two cores
XE_STEPS = 240
PRESENT = 500  # test pictures
HELD_OUT = 100  # pictures of the curves

Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoOptions(CommandOptions):
    """These are the options of ``capreward demo``.

    Attributes:
        run_folder: The runs and the report are kept in this folder.
        captioner: Training starts from this captioner; None means the captioner that ships.
        steps: Each way of training updates the captioner so many times.
        seed: Everything drawn by lot starts from this seed.
        count: So many test pictures are captioned and judged.
        device: The captioners run on this device, which torch knows by this name; ``auto`` takes a GPU if there is one.
        quiet: True writes nothing but errors to standard error.
    """

    run_folder: Path
    captioner: str | None
    steps: int
    seed: int
    count: int
    device: str
    quiet: bool


@click.command(cls=Command)
@click.option(
    "-r",
    "--run-folder",
    "--run",
    type=click.Path(path_type=Path),
    default=Path("runs/demo"),
    show_default=True,
    help="Keeps the runs and the report; the same folder again goes on where it was.",
)
@click.option("-c", "--captioner", help="Start from another captioner of scenes, not the one that ships.")
@click.option("--steps", type=click.IntRange(1), default=150, show_default=True, help="Updates, of 16 pictures each.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything drawn by lot.")
@click.option("--count", type=click.IntRange(2), default=PRESENT, show_default=True, help="Test pictures.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on standard error but errors.")
def demo(**options: Any) -> None:
    """Train and compare captioners on the embedded scenes world, in minutes, without data or a GPU.

    A captioner that imitates captions (xe) is trained further in two ways, DiCO and SCST, each against the reward pacs
    on as many pictures; then all three are judged on new pictures. The table goes to standard error, the path of
    the report to standard output.

    \b
    capreward demo
    capreward demo --run-folder runs/longer --steps 600
    """
    given = DemoOptions.of(options)
    began = time.perf_counter()
    say = partial(_tell, quiet=given.quiet)
    say(
        "Captioners on drawn pictures: one that imitates captions (xe), and two trained from it against a reward, pacs "
        "(how well caption and picture fit), by DiCO and by SCST."
    )
    start = _starting_point(given, say)
    for number, way in enumerate(WAYS, 2):
        config = _config(way, start.path, given)
        say(_announcement(number, way, given.steps))
        _train(config, given.run_folder / way, say, quiet=given.quiet)
    sources = [start, *(_last_captioner(given.run_folder / way, way) for way in WAYS)]
    results = _evaluate(sources, given, say)
    _finish(sources, results, given, say)
    say(f"Done in {time.perf_counter() - began:,.0f} s; open the report in a browser:")
    click.echo(given.run_folder / "report.html")


def _starting_point(options: DemoOptions, say: Say) -> NamedCaptioner:
    """Return the captioner that is named, or that ships, or one trained in its place."""
    from trainers.comparison.named_captioners import SCENES, NamedCaptioner, shipped_captioner, source_of

    folder = options.run_folder
    if options.captioner is not None:
        say(f"1/4 xe: the captioner {options.captioner}; nothing to train.")
        named = source_of(options.captioner)
        return NamedCaptioner("xe", named.path, None, None, folder / "xe-evaluation.json")
    if shipped_captioner() is not None:
        say("1/4 xe: the captioner that ships with capreward; nothing to train.")
        return NamedCaptioner("xe", SCENES, None, None, folder / "xe-evaluation.json")
    say(f"1/4 xe: no captioner ships with this capreward; training a small one, {_duration('xe', XE_STEPS)}.")
    _train(_xe_config(options), folder / "xe", say, quiet=options.quiet)
    return _last_captioner(folder / "xe", "xe")


def _xe_config(options: DemoOptions) -> RunConfig:
    """Return the configuration of a small captioner that imitates captions."""
    from trainers.runs.config_files import build, merged, read_recipe

    changes = {
        "seed": options.seed,
        "device": options.device,
        "captioner": {"sizes": {"width": 96, "heads": 3, "inner": 384}},
        "data": {"count": 20_000, "val_count": HELD_OUT},
        "training": {"steps": XE_STEPS, "batch_size": 32, "lr": 3e-3, "warmup": 40},
        "evaluation": {"every": XE_STEPS},
        "checkpoint": {"every": 100},
    }
    return build(merged(read_recipe("scenes-xe"), changes))


def _config(way: str, start: str, options: DemoOptions) -> RunConfig:
    """Return the recipe of a way, against the reward, from the same captioner and on as many pictures as the other.

    Args:
        way: The recipe has this name, ``dico`` or ``scst``.
        start: Training starts from this captioner.
        options: The options say how long to train, and on which device.
    """
    from trainers.runs.config_files import build, merged, read_recipe

    every = max(1, options.steps // 4)
    changes = {
        "seed": options.seed,
        "device": options.device,
        "captioner": {"init": start},
        "reward": {"expression": REWARD},
        "data": {"val_count": min(HELD_OUT, options.count)},
        "training": {"steps": options.steps, "batch_size": BATCH},
        "evaluation": {"every": every},
        "checkpoint": {"every": every},
        "logging": {"every": max(1, min(10, options.steps // 10))},
    }
    return build(merged(read_recipe(f"scenes-{way}"), changes))


def _announcement(number: int, way: str, steps: int) -> str:
    """Return the sentence on a way that is about to be trained."""
    names = {
        "dico": "DiCO learns from which of its captions have the better reward",
        "scst": "SCST makes captions likelier that beat its own best guess",
    }
    return f"{number}/4 {way}: {names[way]}; {steps * BATCH:,} pictures, {_duration(way, steps)}."


def _duration(way: str, steps: int) -> str:
    """Return in words how long so many steps take."""
    seconds = SECONDS[way] * steps
    return "about a minute" if 40 <= seconds <= 80 else f"about {max(5, 5 * round(seconds / 5)):,} s"


def _train(config: RunConfig, folder: Path, say: Say, *, quiet: bool) -> None:
    """Train to the end, unless that was done before.

    Raises:
        InputError: The folder holds a run with other settings.
    """
    from trainers.runs.folder import RunFolder
    from trainers.runs.session import captioner_run_kind, check_same, keep_begun_settings, run_training

    run = RunFolder(folder)
    try:
        check_same(keep_begun_settings(config, run)[0], run, captioner_run_kind())
    except InputError as error:
        raise InputError(f"{error.args[0].partition(';')[0]}; give another --run-folder, or remove that one") from error
    if _is_finished(run, config.training.steps or 0):
        say(f"    finished before, taken as it is ({folder})")
        return
    began = time.perf_counter()
    run_training(config, folder, [], quiet=quiet or not sys.stderr.isatty())
    say(f"    done in {time.perf_counter() - began:,.0f} s ({folder})")


def _is_finished(run: RunFolder, steps: int) -> bool:
    """Tell whether a run has finished so many steps."""
    from trainers.runs.folder import PROGRESS

    checkpoints = run.checkpoints()
    if not checkpoints or not run.last.is_dir():
        return False
    progress = json.loads((checkpoints[-1] / PROGRESS).read_text(encoding="utf-8"))
    return bool(progress["finished"]) and int(progress["step"]) >= steps


def _last_captioner(folder: Path, name: str) -> NamedCaptioner:
    """Return the captioner after the last step of a run.

    All captioners have then seen as many pictures, and none was chosen by a metric.
    """
    from trainers.comparison.named_captioners import source_of

    return replace(source_of(str(folder), last=True), name=name)


def _evaluate(sources: list[NamedCaptioner], options: DemoOptions, say: Say) -> Results:
    """Let the captioners caption new pictures, and judge them."""
    from capreward.commands.progress import Bar
    from capreward.encoders.pool import device_of
    from trainers.commands.evaluate import stepping
    from trainers.comparison.captioner_evaluation import SCENES_METRICS, SCENES_TEST, Evaluation, HeldOut
    from trainers.comparison.evaluation_files import evaluate_all
    from trainers.runs.devices import DeviceOptions

    say(f"4/4 All three caption {options.count:,} new pictures and are judged, which takes about half a minute.")
    evaluation = Evaluation(HeldOut(SCENES_TEST, count=options.count), SCENES_METRICS, labelled=True)
    devices = DeviceOptions(device=device_of(options.device))
    with Bar(len(sources), hidden=options.quiet) as bar:
        return evaluate_all(sources, evaluation, devices, reuse=True, step=stepping(bar))


def _finish(sources: list[NamedCaptioner], results: Results, options: DemoOptions, say: Say) -> None:
    """Show the results, say what follows from them, and write the report."""
    from capreward.commands.score_output import show_results
    from trainers.reports.conclusions import conclusions
    from trainers.reports.report_file import write_report
    from trainers.reports.report_page import commands_of

    sentences = conclusions(results, REWARD)
    pictures = options.steps * BATCH
    what = f"xe imitates captions; dico and scst began there and learned from {pictures:,} pictures and pacs."
    if not options.quiet:
        click.echo(err=True)
        show_results(results, percent=False)
        click.echo(err=True)
    for sentence in sentences:
        say(sentence)
    command = f"capreward demo --run-folder {options.run_folder} --steps {options.steps}"
    write_report(
        options.run_folder / "report.html",
        sources,
        results,
        title="Three captioners on the scenes world",
        conclusions=[what, *sentences],
        commands=[command, *commands_of(sources)],
    )


def _tell(sentence: str, *, quiet: bool) -> None:
    """Write a sentence to standard error, unless the user wants none."""
    if not quiet:
        click.echo(sentence, err=True)
