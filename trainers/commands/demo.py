"""``capreward demo``: two ways to train a captioner against a reward, compared on drawn pictures in minutes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.commands.command import Command
from capreward.errors import InputError

if TYPE_CHECKING:
    from capreward.reports.results import Results
    from trainers.comparison.named_captioners import NamedCaptioner
    from trainers.runs.config import RunConfig

REWARD = "pacs"
WAYS = ("dico", "scst")
BATCH = 16  # pictures per step, of the recipes
SECONDS = {"xe": 0.35, "dico": 0.5, "scst": 0.45}  # of a step, on two cores
XE_STEPS = 240
PRESENT = 500  # test pictures
HELD_OUT = 100  # pictures of the curves

Say = Callable[[str], None]


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
def demo(run_folder: Path, captioner: str | None, steps: int, seed: int, count: int, device: str, quiet: bool) -> None:
    """Train and compare captioners on the embedded scenes world, in minutes, without data or a GPU.

    A captioner that imitates captions (xe) is trained further in two ways, DiCO and SCST, each against the reward pacs
    on as many pictures; then all three are judged on new pictures. The table goes to standard error, the path of
    the report to standard output.

    \b
    capreward demo
    capreward demo --run-folder runs/longer --steps 600
    """
    began = time.perf_counter()
    say = partial(_spoken, quiet=quiet)
    say(
        "Captioners on drawn pictures: one that imitates captions (xe), and two trained from it against a reward, pacs "
        "(how well caption and picture fit), by DiCO and by SCST."
    )
    start = _starting_point(run_folder, captioner, seed, device, say, quiet=quiet)
    for number, way in enumerate(WAYS, 2):
        config = _config(way, start.path, steps, seed, device, min(HELD_OUT, count))
        say(_announced(number, way, steps))
        _train(config, run_folder / way, say, quiet=quiet)
    sources = [start, *(_trained(run_folder / way, way) for way in WAYS)]
    results = _evaluated(sources, count, device, say, quiet=quiet)
    _finish(run_folder, sources, results, steps, say, quiet=quiet)
    say(f"Done in {time.perf_counter() - began:,.0f} s; open the report in a browser:")
    click.echo(run_folder / "report.html")


def _starting_point(
    folder: Path, captioner: str | None, seed: int, device: str, say: Say, *, quiet: bool
) -> NamedCaptioner:
    """The captioner that was named, or that ships, or one trained in its place."""
    from trainers.comparison.named_captioners import SCENES, NamedCaptioner, shipped_captioner, source_of

    own = folder / "xe"
    if captioner is not None:
        say(f"1/4 xe: the captioner {captioner}; nothing to train.")
        named = source_of(captioner)
        return NamedCaptioner("xe", named.path, None, None, folder / "xe-evaluation.json")
    if shipped_captioner() is not None:
        say("1/4 xe: the captioner that ships with capreward; nothing to train.")
        return NamedCaptioner("xe", SCENES, None, None, folder / "xe-evaluation.json")
    say(f"1/4 xe: no captioner ships with this capreward; training a small one, {_lasting('xe', XE_STEPS)}.")
    _train(_xe_config(seed, device), own, say, quiet=quiet)
    return _trained(own, "xe")


def _xe_config(seed: int, device: str) -> RunConfig:
    from trainers.runs.config_files import build, merged, read_recipe

    changes = {
        "seed": seed,
        "device": device,
        "captioner": {"sizes": {"width": 96, "heads": 3, "inner": 384}},
        "data": {"count": 20_000, "val_count": HELD_OUT},
        "training": {"steps": XE_STEPS, "batch_size": 32, "lr": 3e-3, "warmup": 40},
        "evaluation": {"every": XE_STEPS},
        "checkpoint": {"every": 100},
    }
    return build(merged(read_recipe("scenes-xe"), changes))


def _config(way: str, start: str, steps: int, seed: int, device: str, held_out: int) -> RunConfig:
    """The recipe of a way, against the reward, from the same captioner and on as many pictures as the other."""
    from trainers.runs.config_files import build, merged, read_recipe

    changes = {
        "seed": seed,
        "device": device,
        "captioner": {"init": start},
        "reward": {"expression": REWARD},
        "data": {"val_count": held_out},
        "training": {"steps": steps, "batch_size": BATCH},
        "evaluation": {"every": max(1, steps // 4)},
        "checkpoint": {"every": max(1, steps // 4)},
        "logging": {"every": max(1, min(10, steps // 10))},
    }
    return build(merged(read_recipe(f"scenes-{way}"), changes))


def _announced(number: int, way: str, steps: int) -> str:
    names = {
        "dico": "DiCO learns from which of its captions have the better reward",
        "scst": "SCST makes captions likelier that beat its own best guess",
    }
    return f"{number}/4 {way}: {names[way]}; {steps * BATCH:,} pictures, {_lasting(way, steps)}."


def _lasting(way: str, steps: int) -> str:
    seconds = SECONDS[way] * steps
    return "about a minute" if 40 <= seconds <= 80 else f"about {max(5, 5 * round(seconds / 5)):,} s"


def _train(config: RunConfig, folder: Path, say: Say, *, quiet: bool) -> None:
    """Train to the end; nothing, where that was done before.

    Raises:
        InputError: the folder holds a run with other settings.
    """
    from trainers.runs.folder import RunFolder
    from trainers.runs.training import captioner_run_kind, check_same, keep_begun_settings, run_training

    run = RunFolder(folder)
    try:
        check_same(keep_begun_settings(config, run)[0], run, captioner_run_kind())
    except InputError as error:
        raise InputError(f"{error.args[0].partition(';')[0]}; give another --run-folder, or remove that one") from error
    if _finished(run, config.training.steps or 0):
        say(f"    finished before, taken as it is ({folder})")
        return
    began = time.perf_counter()
    run_training(config, folder, [], quiet=quiet or not sys.stderr.isatty())
    say(f"    done in {time.perf_counter() - began:,.0f} s ({folder})")


def _finished(run: Any, steps: int) -> bool:
    from trainers.runs.folder import PROGRESS

    checkpoints = run.checkpoints()
    if not checkpoints or not run.last.is_dir():
        return False
    told = json.loads((checkpoints[-1] / PROGRESS).read_text(encoding="utf-8"))
    return bool(told["finished"]) and int(told["step"]) >= steps


def _trained(folder: Path, name: str) -> NamedCaptioner:
    """The captioner after the last step: all have seen as many pictures, and none was chosen by a metric."""
    from trainers.comparison.named_captioners import source_of

    return replace(source_of(str(folder), last=True), name=name)


def _evaluated(sources: list[NamedCaptioner], count: int, device: str, say: Say, *, quiet: bool) -> Results:
    from capreward.commands.progress import Bar
    from capreward.encoders.pool import device_of
    from trainers.commands.evaluate import stepping
    from trainers.comparison.evaluation import SCENES_METRICS, SCENES_TEST, Evaluation, HeldOut
    from trainers.comparison.evaluation_files import evaluate_all
    from trainers.runs.devices import DeviceOptions

    say(f"4/4 All three caption {count:,} new pictures and are judged, which takes about half a minute.")
    asked = Evaluation(HeldOut(SCENES_TEST, count=count), SCENES_METRICS, labelled=True)
    with Bar(len(sources), hidden=quiet) as bar:
        return evaluate_all(sources, asked, DeviceOptions(device=device_of(device)), reuse=True, step=stepping(bar))


def _finish(
    folder: Path, sources: list[NamedCaptioner], results: Results, steps: int, say: Say, *, quiet: bool
) -> None:
    from capreward.commands.score_output import show_results
    from trainers.reports.conclusions import conclusions
    from trainers.reports.page import commands_of
    from trainers.reports.report_file import write_report

    said = conclusions(results, REWARD)
    what = f"xe imitates captions; dico and scst began there and learned from {steps * BATCH:,} pictures and pacs."
    if not quiet:
        click.echo(err=True)
        show_results(results, percent=False)
        click.echo(err=True)
    for sentence in said:
        say(sentence)
    write_report(
        folder / "report.html",
        sources,
        results,
        title="Three captioners on the scenes world",
        conclusions=[what, *said],
        commands=[f"capreward demo --run-folder {folder} --steps {steps}", *commands_of(sources)],
    )


def _spoken(sentence: str, *, quiet: bool) -> None:
    if not quiet:
        click.echo(sentence, err=True)
