"""From a configuration to everything that a run needs, with all that is missing told before the first step."""

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
        config: the run's.
        captioner: to be trained, on the CPU.
        train: the training items.
        val: the held-out items, or None.
        optimizer: the paradigm.
        rewards: None where the optimizer needs none.
        metrics: of the evaluations.
        best: the name of the metric that chooses.
        steps: updates of the run.
        preprocessings: image steps of the rewards, so that a picture is decoded once for captioner and rewards.
        pictures: by key, for rewards and metrics, where they are not those that the captioner looks at.
        notes: what was taken or left out, one sentence each.
        diagnostics: what watches the reward; None where there is none, or where it is switched off.
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
    """Collects what is wrong with independent parts."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def attempt(self, make: Callable[[], T]) -> T | None:
        """What ``make`` gives, or None where it finds something wrong, which is kept."""
        try:
            return make()
        except InputError as error:
            self.found.append(str(error))
            return None

    def finish(self) -> None:
        """Tell all that was found.

        Raises:
            InputError: one line each, where there is something.
        """
        told = list(dict.fromkeys(self.found))
        if len(told) == 1:
            raise InputError(told[0])
        if told:
            lines = "\n".join(f"  - {line}" for line in told)
            raise InputError(f"{len(told)} things must be mended before training can start:\n{lines}")


def prepare(config: RunConfig, folder: Path | None, *, device: str, world: int = 1) -> PreparedRun:
    """Load and check everything that the run will touch: data, weights, rewards, metrics, trackers.

    Args:
        config: of the run.
        folder: of the run, for what is counted once; None for a dry run.
        device: for the rewards' encoders.
        world: number of processes.

    Raises:
        InputError: everything that is wrong.
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
    seen_late = train is None and config.captioner.tower == "stored" and not config.captioner.init
    captioner = None if seen_late else errors.attempt(lambda: make_captioner(config, train))
    pictures = errors.attempt(lambda: other_pictures(config, train, val)) or {}
    name = str(config.optimizer["name"])
    optimizer = make_optimizer(name, {k: v for k, v in config.optimizer.items() if k != "name"})
    shared = {"device": device, "download": config.download or None, "workers": 0}
    notes += [] if train is None else train.notes
    rewards, diagnostics, told = _judging(config, optimizer, train, folder, shared, pictures, errors)
    notes += told
    if captioner is not None:
        config, told = _searched(config, captioner, errors)
        notes += told
        for option, most in lengths_of(config, optimizer).items():
            errors.attempt(partial(check_length, option, most, captioner.longest))
    spelt = metrics_of(config, optimizer)
    metrics = errors.attempt(lambda: load_list(spelt, **shared)) if config.data.val else []
    best = errors.attempt(lambda: best_of(config, metrics or [])) if metrics else ""
    errors.finish()
    assert train is not None and captioner is not None  # noqa: S101, PT018  # for the type checker
    steps = steps_of(config, train, world)
    judged = (rewards, metrics or [], best or "", steps)
    crops = image_steps(rewards, train)
    return PreparedRun(config, captioner, train, val, optimizer, *judged, crops, pictures, notes, diagnostics)


def _searched(config: RunConfig, captioner: Captioner, errors: ErrorList) -> tuple[RunConfig, list[str]]:
    """The configuration with every setting of the evaluations' search, and a note where authors' are taken."""
    from trainers.evaluation.search_settings import describe_search, search_of, with_search

    found = errors.attempt(lambda: with_search(config.evaluation, captioner))
    if found is None:
        return config, []
    taken = found != config.evaluation and captioner.decoding and config.data.val
    how = (
        f"evaluations decode as the captioner's authors do, but for what is asked: {describe_search(search_of(found))}"
    )
    return replace(config, evaluation=found), [how] if taken else []


def _judging(
    config: RunConfig,
    optimizer: Optimizer,
    train: Dataset | None,
    folder: Path | None,
    shared: dict[str, Any],
    pictures: dict[str, Any],
    errors: ErrorList,
) -> tuple[Rewards | None, Diagnostics | None, list[str]]:
    """Rewards and what watches them, where the optimizer needs a reward, and notes about both."""
    from capreward.data.images.scene_keys import names_scenes
    from trainers.rewards.rewards import load_rewards, wrong_terms
    from trainers.watch.diagnostics import load_diagnostics

    if not optimizer.needs_reward:
        return None, None, []
    errors.attempt(lambda: check_unbaselined(config, optimizer))
    varied = optimizer.options().get("self_cider_weight", 0.0) != 0
    loaded = errors.attempt(lambda: load_rewards(config.reward, train, folder, shared, varied=varied))
    if loaded is None:
        errors.found += wrong_terms(config.reward, train, shared)
    rewards, notes = loaded or (None, [])
    if rewards is None:
        return None, None, notes
    rewards.pictures = pictures
    if train is not None and folder is not None:
        errors.attempt(lambda: rehearse(rewards, train))
    scenes = names_scenes(config.data.train)
    rest = (config.diagnostics, config.reward.expression, train, folder, shared, pictures)
    found = errors.attempt(lambda: load_diagnostics(*rest, scenes=scenes))
    diagnostics, told = found or (None, [])
    return rewards, diagnostics, [*notes, *told]


def check_reward_used(config: RunConfig) -> None:
    """Refuse a reward, or monitors beside one, where the optimizer learns from none and would not look at it.

    Raises:
        InputError: what is named, and which optimizers learn from a reward.
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
    """Refuse terms without a baseline where there is none to leave out.

    Raises:
        InputError: with what has one.
    """
    if config.reward.unbaselined and optimizer.options().get("baseline") != "greedy":
        raise InputError(
            "reward.unbaselined leaves terms out of the greedy baseline; give --optimizer scst with --baseline greedy"
        )


def open_training(config: RunConfig) -> Dataset:
    """The training items."""
    from trainers.data import open_dataset

    data = config.data
    return open_dataset(data.train, images=data.images, split=data.split, count=data.count, **reading_of(config))


def open_held_out(config: RunConfig) -> Dataset:
    """The held-out items."""
    from trainers.data import open_dataset

    data = config.data
    assert data.val is not None  # noqa: S101  # for the type checker: asked before
    images = data.val_images or data.images
    return open_dataset(data.val, images=images, split=data.val_split, count=data.val_count, **reading_of(config))


def other_pictures(config: RunConfig, *datasets: Dataset | None) -> dict[str, Any]:
    """The pictures that ``data.reward_images`` names, by key; empty where it names none.

    Raises:
        InputError: pictures that are missing.
    """
    from capreward.data.images.lookup import find_images

    if not config.data.reward_images:
        return {}
    keys = list(dict.fromkeys(key for dataset in datasets if dataset is not None for key in dataset.keys))
    return dict(zip(keys, find_images(config.data.reward_images, keys).images, strict=True))


def reading_of(config: RunConfig) -> dict[str, Any]:
    """How tables and pictures are read."""
    names = ("id_column", "caption_column", "image_column", "allow_missing")
    return {**{name: getattr(config.data, name) for name in names}, "flags": "--set data.{key}=NAME"}


def metrics_of(config: RunConfig, optimizer: Optimizer) -> str:
    """The metrics of the evaluations: those asked for, or CIDEr and the reward."""
    if config.evaluation.metrics:
        return config.evaluation.metrics
    from capreward.metric_names import known_as

    reward = config.reward.expression if optimizer.needs_reward else None
    alone = reward is None or known_as(reward.strip(), ("cider", "cider-d")) is not None
    return "cider" if alone else f"cider, {reward}"


def best_of(config: RunConfig, metrics: list[Evaluator]) -> str:
    """The column that chooses the best captioner: the one asked for, else the first of those listed, else the reward.

    Raises:
        InputError: a name that the metrics do not give.
    """
    import difflib

    from capreward.metric_names import known_as

    names = [n for m in metrics for n in ([m.label or m.name] if len(m.columns) < 2 else m.columns)]
    best = config.evaluation.best
    if best is None:
        # The metrics of a run that names none are CIDEr and the reward: what is trained for chooses.
        return names[0] if config.evaluation.metrics else names[-1]
    found = known_as(best, names)
    if found is None:
        near = difflib.get_close_matches(best, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"they are {', '.join(names)}"
        raise InputError(f"evaluation.best is {best!r}, which is none of the metrics; {hint}")
    return found


def lengths_of(config: RunConfig, optimizer: Optimizer) -> dict[str, int]:
    """The settings that say how long a caption may get, by name."""
    from trainers.evaluation.search_settings import MAX_LENGTH

    asked = {"evaluation.max_length": config.evaluation.max_length or MAX_LENGTH} if config.data.val else {}
    if optimizer.needs_reward and "max_length" in optimizer.options():
        asked["optimizer.max_length"] = optimizer.options()["max_length"]
    return asked


def check_length(option: str, most: int, longest: int) -> None:
    """Refuse captions longer than the captioner can write.

    Raises:
        InputError: with the greatest value.
    """
    if most > longest:
        raise InputError(
            f"{option} is {most}, and the captioner has {longest} places for tokens; give --set {option}={longest}"
        )


def rehearse(rewards: Rewards, train: Dataset) -> None:
    """Judge one reference caption, so that missing weights or references show before the first step.

    Raises:
        InputError: what the reward lacks.
    """
    item = train.first()
    if item is None:
        return
    rewards.compute([item.captions[0]], [item.key], [item.picture], [item.captions], monitored=True)


def image_steps(rewards: Rewards | None, train: Dataset) -> list[Preprocessing]:
    """The image steps of the rewards' encoders for the training pictures, each once."""
    from capreward.encoders.store.feature_store import StoredFeature
    from capreward.samples import Samples

    first = train.first()
    if rewards is None or rewards.pictures or first is None or isinstance(first.picture, StoredFeature):
        return []
    samples = Samples([""], references=[list(first.captions)], images=[first.picture])
    found = [p for evaluator in (rewards.evaluator, *rewards.monitors) for p in evaluator.preprocessings(samples)]
    return list(dict.fromkeys(found))


def check_trackers(names: list[str]) -> None:
    """Refuse trackers that accelerate does not know or whose package is missing.

    Raises:
        InputError: which one, and what to install.
    """
    if not names:
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers

    there = [str(t.value if hasattr(t, "value") else t) for t in get_available_trackers()]
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            raise InputError(f"there is no tracker {name!r}; known are {', '.join(LOGGER_TYPE_TO_CLASS)}")
        if name not in there:
            raise InputError(f"the tracker {name} needs its package; type pip install {name}")


def steps_of(config: RunSettings, train: Dataset, world: int) -> int:
    """Updates of the run.

    Raises:
        InputError: epochs of a stream, which has no number of items.
    """
    training = config.training
    if training.steps is not None:
        return training.steps
    per_step = training.batch_size * getattr(training, "accumulation", 1) * world
    return max(1, round((training.epochs or 0) * len(train) / per_step))
