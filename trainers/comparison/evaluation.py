"""The evaluation of several captioners on the same held-out items, by the same metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError, shorten
from capreward.scoring import DEFAULT_TOKENIZER
from trainers.watch.diagnostics import JUDGE

if TYPE_CHECKING:
    from capreward.evaluators.base import Evaluator
    from capreward.reports.results import Bootstrap, SystemResult
    from capreward.samples import Samples
    from trainers.comparison.named_captioners import NamedCaptioner
    from trainers.data import Dataset
    from trainers.evaluation.captions import CaptionedItems
    from trainers.runs.config import RunConfig
    from trainers.runs.devices import DeviceOptions

SCENES_METRICS = f"cider, pacs, {JUDGE}, repetition, scene-facts, scene-grammar"
SCENES_TEST = "scenes:test"
MANY = 10_000  # items of a stream, for its progress

ProgressCallback = Callable[[str, float, float], None]


@dataclass(frozen=True)
class HeldOut:
    """The held-out items to caption, in the terms of :func:`trainers.data.open_dataset`."""

    source: str
    images: str | None = None
    split: str | None = None
    count: int | None = None
    id_column: str | None = None
    caption_column: tuple[str, ...] | None = None
    image_column: str | None = None

    def open(self) -> Dataset:
        """Open the items.

        Raises:
            InputError: The items are not found.
        """
        from trainers.data import open_dataset

        options = asdict(self)
        return open_dataset(options.pop("source"), **options)

    @property
    def scenes(self) -> bool:
        """Whether the items belong to the scenes world, whose true content is known."""
        from capreward.data.images.scene_keys import names_scenes

        return names_scenes(self.source)


@dataclass(frozen=True)
class Evaluation:
    """The settings of an evaluation, which are the same for all captioners.

    Attributes:
        held_out: The items to caption.
        metrics: The metrics, as comma-separated expressions.
        labelled: Whether the judge of scenes gets the label ``judge``.
        tokenizer: The tokenizer of text metrics that name none.
        beams: The number of beams of the search; by default that of the first run.
        max_length: The greatest number of tokens of a caption; by default that of the first run.
        constraints: Further settings of the decoding: its constraints and its length penalty.
        resamples: The number of bootstrap resamples for the intervals; 0 for no intervals.
        seed: The seed of the intervals.
    """

    held_out: HeldOut
    metrics: str
    labelled: bool = False
    tokenizer: str = DEFAULT_TOKENIZER
    beams: int | None = None
    max_length: int | None = None
    constraints: dict[str, Any] = field(default_factory=dict, hash=False)
    resamples: int = 1000
    seed: int = 12345

    @property
    def bootstrap(self) -> Bootstrap | None:
        """The settings of the bootstrap; None for no intervals."""
        from capreward.reports.results import Bootstrap

        return Bootstrap(self.resamples, seed=self.seed) if self.resamples else None

    def evaluators(self, **shared: Any) -> list[Evaluator]:
        """Load the metrics.

        Args:
            shared: Options for every evaluator that has them: device, workers, download, ...

        Raises:
            InputError: A metric is unknown, or its weights are missing.
        """
        from capreward.expression import canonical, parse_list
        from capreward.scoring import load_list

        evaluators = load_list(self.metrics, tokenizer=self.tokenizer, **shared)
        if self.labelled:
            expressions = [canonical(node) for node in parse_list(self.metrics)]
            evaluators[expressions.index(JUDGE)].label = "judge"
        return evaluators


def held_out_of(sources: Sequence[NamedCaptioner], *, count: int | None = None) -> HeldOut:
    """Return the items that runs held out of their training; for scenes the test set, which no training used.

    Args:
        sources: The captioners.
        count: The number of items to take from the beginning.

    Raises:
        InputError: The runs held out different items, or none.
    """
    items_of: dict[HeldOut, str] = {}
    for source in sources:
        items = _items_of_run(source)
        if items is not None:
            items_of.setdefault(items, source.name)
    if not items_of:
        raise InputError(f"{sources[0].name} names no held-out items; give --data with captions and pictures")
    if len(items_of) > 1:
        conflicts = [f"{name} {items.source}" for items, name in items_of.items()]
        raise InputError(f"these runs held out different items ({shorten(conflicts)}); give --data for all of them")
    items = next(iter(items_of))
    return items if count is None else replace(items, count=count)


def _items_of_run(source: NamedCaptioner) -> HeldOut | None:
    """Return the items that a captioner's run held out; without a run, scenes' test set if its tower is scenes'."""
    if source.config is None:
        return HeldOut(SCENES_TEST) if _has_scenes_tower(source) else None
    data = source.config.data
    if data.val is None:
        return None
    columns = (data.id_column, data.caption_column, data.image_column)
    items = HeldOut(data.val, data.val_images or data.images, data.val_split, data.val_count, *columns)
    return HeldOut(SCENES_TEST) if items.scenes else items


def _has_scenes_tower(source: NamedCaptioner) -> bool:
    from trainers.captioners.folder import CONFIG
    from trainers.comparison.named_captioners import SCENES

    if source.path == SCENES:
        return True
    try:
        configuration = json.loads((Path(source.path) / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    tower = configuration.get("tower") if isinstance(configuration, dict) else None
    return isinstance(tower, dict) and tower.get("source") == "scenes-clip"


def metrics_for(sources: Sequence[NamedCaptioner], held_out: HeldOut) -> str:
    """Return the metrics if none are asked for: all that scenes has, else CIDEr and the metrics of the runs.

    The metrics of runs on scenes (pacs by its small CLIP, scene-facts) do not suit other pictures.
    """
    from capreward.data.images.scene_keys import names_scenes
    from capreward.expression import canonical, parse_list
    from trainers.optimizers.base import make_optimizer
    from trainers.runs.preparation import metrics_of

    if held_out.scenes:
        return SCENES_METRICS
    expressions = ["cider"]
    for config in _configs(sources):
        if config.data.val is not None and names_scenes(config.data.val):
            continue
        options = {k: v for k, v in config.optimizer.items() if k != "name"}
        expressions.append(metrics_of(config, make_optimizer(str(config.optimizer["name"]), options)))
    return ", ".join(dict.fromkeys(canonical(node) for text in expressions for node in parse_list(text)))


def load_plugins_of(sources: Sequence[NamedCaptioner]) -> None:
    """Import the custom rewards that runs were trained with, so that they can be metrics.

    Raises:
        InputError: A file is missing or fails.
    """
    from capreward.plugins import load_plugins

    load_plugins([Path(path) for path in dict.fromkeys(p for config in _configs(sources) for p in config.plugins)])


def _configs(sources: Sequence[NamedCaptioner]) -> list[RunConfig]:
    return [source.config for source in sources if source.config is not None]


def evaluate_source(
    source: NamedCaptioner,
    sources: Sequence[NamedCaptioner],
    evaluation: Evaluation,
    dataset: Dataset,
    metrics: Sequence[Evaluator],
    devices: DeviceOptions,
    *,
    before: Samples | None = None,
    progress: ProgressCallback | None = None,
) -> SystemResult:
    """Caption the items by one captioner, and score its captions.

    Args:
        source: The captioner.
        sources: All captioners that are compared.
        evaluation: The settings of the evaluation.
        dataset: The opened items.
        metrics: The loaded metrics.
        devices: The device, the precision and the workers.
        before: The captions of another captioner for the same items, whose pictures are not encoded again.
        progress: A function that is called as (what, done, total).

    Raises:
        InputError: There is no captioner, items cannot be read, or a metric lacks something.
    """
    from capreward.reports.systems import score_system
    from trainers.comparison.named_captioners import by_authors, decoding_for
    from trainers.evaluation.captions import caption_items
    from trainers.evaluation.search_settings import describe_search
    from trainers.runs.devices import autocast, workers_for

    workers = workers_for(devices.workers, _size(dataset), drawn=evaluation.held_out.scenes)
    with autocast(devices.device, devices.precision):
        captioner = source.open(device=devices.device, download=devices.download)
        settings = decoding_for(
            sources, captioner, beams=evaluation.beams, max_length=evaluation.max_length, **evaluation.constraints
        )
        items_done = None if progress is None else _captioning_progress(progress, _size(dataset))
        captioned = caption_items(
            captioner, dataset, settings, batch_size=devices.batch_size, workers=workers, progress=items_done
        )
    _refuse_broken(captioned, devices)
    authors_note = "; as its authors do, but for what is asked" if by_authors(sources, captioner) else ""
    samples = captioned.samples()
    if before is not None:
        samples.share_items(before)
    search = f"{describe_search(settings)}{authors_note}"
    description = f"{len(captioned.keys):,} pictures of {dataset.source}, captioned by {source.path} ({search})"
    halved = None if progress is None else lambda what, n, total: progress(what, 1 + n / max(total, 1), 2)
    return score_system(source.name, samples, metrics, evaluation.bootstrap, description, progress=halved)


def _captioning_progress(progress: ProgressCallback, total: int) -> Callable[[int], None]:
    """Return a function that reports captioning as the first half of the work."""
    return lambda n: progress("captioning", min(1.0, n / total), 2)


def _size(dataset: Dataset) -> int:
    """Return the number of items; for a stream, which does not know it, a large number."""
    try:
        return len(dataset)
    except TypeError:
        return MANY


def _refuse_broken(captioned: CaptionedItems, devices: DeviceOptions) -> None:
    if captioned.broken and not devices.skip_broken:
        many = f"{len(captioned.broken):,} held-out item{'s' * (len(captioned.broken) != 1)} cannot be read"
        raise InputError(
            f"{many}: {shorten(captioned.broken)}; mend what is broken, or leave it out with --skip-broken"
        )
