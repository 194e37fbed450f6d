"""The preparation of a run: everything that it needs, with all errors reported before the first step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from capreward.errors import InputError
from trainers.optimizers.base import Optimizer, make_optimizer
from trainers.runs.config import RunConfig

if TYPE_CHECKING:
    from capreward.encoders.spec import Preprocessing
    from capreward.evaluators.base import Evaluator
    from trainers.captioners.base import Captioner
    from trainers.data import Dataset
    from trainers.rewards.rewards import Rewards
    from trainers.runs.trainer import RunSettings
    from trainers.watch.diagnostics import Diagnostics

T = TypeVar("T")


@dataclass
class PreparedRun:
    """All parts of a run.

    Attributes:
        config: The configuration of the run.
        captioner: The captioner to train, on the CPU.
        train: The training items.
        val: The held-out items, or None.
        optimizer: The training paradigm.
        rewards: The rewards; None if the optimizer needs none.
        metrics: The metrics of the evaluations.
        best: The name of the metric that selects the best captioner.
        steps: The number of updates of the run.
        preprocessings: The image steps of the rewards, so that a picture is decoded once for captioner and rewards.
        pictures: Pictures for rewards and metrics by key, if they are not the captioner's pictures.
        notes: Notes about what was taken or left out, one sentence each.
        diagnostics: The diagnostics of the reward; None if there are none, or if they are switched off.
    """

    config: RunConfig
    captioner: Captioner
    train: Dataset
    val: Dataset | None
    optimizer: Optimizer
    rewards: Rewards | None
    metrics: list[Evaluator]
    best: str
    steps: int
    preprocessings: list[Preprocessing] = field(default_factory=list)
    pictures: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    diagnostics: Diagnostics | None = None


class ErrorList:
    """A list of the errors of independent parts."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def attempt(self, make: Callable[[], T]) -> T | None:
        """Return the result of ``make``, or None if it raises an input error, which is added to the list."""
        try:
            return make()
        except InputError as error:
            self.errors.append(str(error))
            return None

    def finish(self) -> None:
        """Report all errors together.

        Raises:
            InputError: There are errors; the message has one line for each.
        """
        errors = list(dict.fromkeys(self.errors))
        if len(errors) == 1:
            raise InputError(errors[0])
        if errors:
            lines = "\n".join(f"  - {line}" for line in errors)
            raise InputError(f"{len(errors)} things must be mended before training can start:\n{lines}")


def prepare(config: RunConfig, folder: Path | None, *, device: str, world: int = 1) -> PreparedRun:
    """Load and check everything that the run will use: data, weights, rewards, metrics, trackers.

    Args:
        config: The configuration of the run.
        folder: The folder of the run, for what is counted once; None for a dry run.
        device: The device of the rewards' encoders.
        world: The number of processes.

    Raises:
        InputError: Something is wrong; the message names all errors.
    """
    from capreward.plugins import load_plugins
    from capreward.scoring import load_list
    from trainers.runs.new_captioner import make_captioner

    errors = ErrorList()
    notes: list[str] = []
    errors.attempt(lambda: load_plugins([Path(p) for p in config.plugins]))
    errors.attempt(lambda: check_reward_used(config))
    errors.attempt(lambda: check_trackers(config.logging.trackers))
    train = errors.attempt(lambda: open_training(config))
    val = errors.attempt(lambda: open_held_out(config)) if config.data.val else None
    needs_train = train is None and config.captioner.tower == "stored" and not config.captioner.init
    captioner = None if needs_train else errors.attempt(lambda: make_captioner(config, train))
    pictures = errors.attempt(lambda: other_pictures(config, train, val)) or {}
    name = str(config.optimizer["name"])
    optimizer = make_optimizer(name, {k: v for k, v in config.optimizer.items() if k != "name"})
    shared = {"device": device, "download": config.download or None, "workers": 0}
    notes += [] if train is None else train.notes
    rewards, diagnostics, more_notes = _rewards_and_diagnostics(
        config, optimizer, train, folder, shared, pictures, errors
    )
    notes += more_notes
    if captioner is not None:
        config, more_notes = _with_search(config, captioner, errors)
        notes += more_notes
        for option, most in lengths_of(config, optimizer).items():
            errors.attempt(partial(check_length, option, most, captioner.longest))
    expressions = metrics_of(config, optimizer)
    metrics = errors.attempt(lambda: load_list(expressions, **shared)) if config.data.val else []
    best = errors.attempt(lambda: best_of(config, metrics or [])) if metrics else ""
    errors.finish()
    assert train is not None and captioner is not None  # noqa: S101, PT018  # for the type checker
    steps = steps_of(config, train, world)
    evaluation = (rewards, metrics or [], best or "", steps)
    crops = image_steps(rewards, train)
    return PreparedRun(config, captioner, train, val, optimizer, *evaluation, crops, pictures, notes, diagnostics)


def _with_search(config: RunConfig, captioner: Captioner, errors: ErrorList) -> tuple[RunConfig, list[str]]:
    """Return the configuration with every setting of the evaluations' search, and a note if the authors' are taken."""
    from trainers.evaluation.search_settings import describe_search, search_of, with_search

    evaluation = errors.attempt(lambda: with_search(config.evaluation, captioner))
    if evaluation is None:
        return config, []
    from_authors = evaluation != config.evaluation and captioner.decoding and config.data.val
    search = describe_search(search_of(evaluation))
    note = f"evaluations decode as the captioner's authors do, but for what is asked: {search}"
    return replace(config, evaluation=evaluation), [note] if from_authors else []


def _rewards_and_diagnostics(
    config: RunConfig,
    optimizer: Optimizer,
    train: Dataset | None,
    folder: Path | None,
    shared: dict[str, Any],
    pictures: dict[str, Any],
    errors: ErrorList,
) -> tuple[Rewards | None, Diagnostics | None, list[str]]:
    """Load the rewards and their diagnostics, if the optimizer needs a reward, and notes about both."""
    from capreward.data.images.scene_keys import names_scenes
    from trainers.rewards.rewards import load_rewards, wrong_terms
    from trainers.watch.diagnostics import load_diagnostics

    if not optimizer.needs_reward:
        return None, None, []
    errors.attempt(lambda: check_unbaselined(config, optimizer))
    varied = optimizer.options().get("self_cider_weight", 0.0) != 0
    loaded = errors.attempt(lambda: load_rewards(config.reward, train, folder, shared, varied=varied))
    if loaded is None:
        errors.errors += wrong_terms(config.reward, train, shared)
    rewards, notes = loaded or (None, [])
    if rewards is None:
        return None, None, notes
    rewards.pictures = pictures
    if train is not None and folder is not None:
        errors.attempt(lambda: try_reward(rewards, train))
    scenes = names_scenes(config.data.train)
    arguments = (config.diagnostics, config.reward.expression, train, folder, shared, pictures)
    loaded_diagnostics = errors.attempt(lambda: load_diagnostics(*arguments, scenes=scenes))
    diagnostics, diagnostic_notes = loaded_diagnostics or (None, [])
    return rewards, diagnostics, [*notes, *diagnostic_notes]


def check_reward_used(config: RunConfig) -> None:
    """Refuse a reward or monitors if the optimizer learns from no reward and would ignore them.

    Raises:
        InputError: A reward or monitors are named; the message tells which optimizers learn from a reward.
    """
    from trainers.optimizers.base import OPTIMIZERS, find_optimizer

    name, reward = str(config.optimizer["name"]), config.reward
    given = {"--reward": reward.expression, "--monitor": reward.monitors}
    option = next((option for option, value in given.items() if value), None)
    if option is None or find_optimizer(name).needs_reward:
        return
    others = " or ".join(n for n in OPTIMIZERS if find_optimizer(n).needs_reward)
    key = "expression" if option == "--reward" else "monitors"
    raise InputError(
        f"the optimizer {name} learns from no reward, and would ignore {option} {given[option]!r}; give --optimizer "
        f"{others}, or leave {option} out (--set reward.{key}=null, if a recipe or file names it)"
    )


def check_unbaselined(config: RunConfig, optimizer: Optimizer) -> None:
    """Refuse terms without a baseline if there is no baseline to leave them out of.

    Raises:
        InputError: Such terms are named; the message tells what has a baseline.
    """
    if config.reward.unbaselined and optimizer.options().get("baseline") != "greedy":
        raise InputError(
            "reward.unbaselined leaves terms out of the greedy baseline; give --optimizer scst with --baseline greedy"
        )


def open_training(config: RunConfig) -> Dataset:
    """Open the training items."""
    from trainers.data import open_dataset

    data = config.data
    return open_dataset(data.train, images=data.images, split=data.split, count=data.count, **reading_of(config))


def open_held_out(config: RunConfig) -> Dataset:
    """Open the held-out items."""
    from trainers.data import open_dataset

    data = config.data
    assert data.val is not None  # noqa: S101  # for the type checker: asked before
    images = data.val_images or data.images
    return open_dataset(data.val, images=images, split=data.val_split, count=data.val_count, **reading_of(config))


def other_pictures(config: RunConfig, *datasets: Dataset | None) -> dict[str, Any]:
    """Return the pictures that ``data.reward_images`` names, by key; empty if it names none.

    Raises:
        InputError: Pictures are missing.
    """
    from capreward.data.images.lookup import find_images

    if not config.data.reward_images:
        return {}
    keys = list(dict.fromkeys(key for dataset in datasets if dataset is not None for key in dataset.keys))
    return dict(zip(keys, find_images(config.data.reward_images, keys).images, strict=True))


def reading_of(config: RunConfig) -> dict[str, Any]:
    """Return the options for reading tables and pictures."""
    names = ("id_column", "caption_column", "image_column", "allow_missing")
    return {**{name: getattr(config.data, name) for name in names}, "flags": "--set data.{key}=NAME"}


def metrics_of(config: RunConfig, optimizer: Optimizer) -> str:
    """Return the metrics of the evaluations: those asked for, or CIDEr and the reward."""
    if config.evaluation.metrics:
        return config.evaluation.metrics
    from capreward.metric_names import matching_name

    reward = config.reward.expression if optimizer.needs_reward else None
    alone = reward is None or matching_name(reward.strip(), ("cider", "cider-d")) is not None
    return "cider" if alone else f"cider, {reward}"


def best_of(config: RunConfig, metrics: list[Evaluator]) -> str:
    """Return the column that selects the best captioner.

    It is the one asked for, else the first of those listed, else the reward.

    Raises:
        InputError: The metrics do not give this name.
    """
    import difflib

    from capreward.metric_names import matching_name

    names = [n for m in metrics for n in ([m.label or m.name] if len(m.columns) < 2 else m.columns)]
    best = config.evaluation.best
    if best is None:
        # If the run names no metrics, they are CIDEr and the reward: then the reward that is trained for selects.
        return names[0] if config.evaluation.metrics else names[-1]
    column = matching_name(best, names)
    if column is None:
        near = difflib.get_close_matches(best, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"they are {', '.join(names)}"
        raise InputError(f"evaluation.best is {best!r}, which is none of the metrics; {hint}")
    return column


def lengths_of(config: RunConfig, optimizer: Optimizer) -> dict[str, int]:
    """Return the settings that limit the length of a caption, by name."""
    from trainers.evaluation.search_settings import MAX_LENGTH

    lengths = {"evaluation.max_length": config.evaluation.max_length or MAX_LENGTH} if config.data.val else {}
    if optimizer.needs_reward and "max_length" in optimizer.options():
        lengths["optimizer.max_length"] = optimizer.options()["max_length"]
    return lengths


def check_length(option: str, most: int, longest: int) -> None:
    """Refuse captions that are longer than the captioner can write.

    Raises:
        InputError: The setting is too large; the message names the greatest value.
    """
    if most > longest:
        raise InputError(
            f"{option} is {most}, and the captioner has {longest} places for tokens; give --set {option}={longest}"
        )


def try_reward(rewards: Rewards, train: Dataset) -> None:
    """Compute the reward of one reference caption, so that missing weights or references show before the first step.

    Raises:
        InputError: The reward lacks something.
    """
    item = train.first()
    if item is None:
        return
    rewards.compute([item.captions[0]], [item.key], [item.picture], [item.captions], monitored=True)


def image_steps(rewards: Rewards | None, train: Dataset) -> list[Preprocessing]:
    """Return the image steps of the rewards' encoders for the training pictures, each once."""
    from capreward.encoders.store.feature_store import StoredFeature
    from capreward.samples import Samples

    first = train.first()
    if rewards is None or rewards.pictures or first is None or isinstance(first.picture, StoredFeature):
        return []
    samples = Samples([""], references=[list(first.captions)], images=[first.picture])
    steps = [p for evaluator in (rewards.evaluator, *rewards.monitors) for p in evaluator.preprocessings(samples)]
    return list(dict.fromkeys(steps))


def check_trackers(names: list[str]) -> None:
    """Refuse trackers that accelerate does not know or whose package is missing.

    Raises:
        InputError: A tracker cannot be used; the message tells what to install.
    """
    if not names:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    available = [str(t.value if hasattr(t, "value") else t) for t in get_available_trackers()]
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise InputError(f"there is no tracker {name!r}; known are {', '.join(LOGGER_TYPE_TO_CLASS)}")
        if name not in available:
            raise InputError(f"the tracker {name} needs its package; type pip install {name}")


def steps_of(config: RunSettings, train: Dataset, world: int) -> int:
    """Return the number of updates of the run.

    Raises:
        InputError: Epochs are given for a stream, which has no number of items.
    """
    training = config.training
    if training.steps is not None:
        return training.steps
    per_step = training.batch_size * getattr(training, "accumulation", 1) * world
    return max(1, round((training.epochs or 0) * len(train) / per_step))
