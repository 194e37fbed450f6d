"""Captioners side by side on the same held-out items: what they say of them, judged by the same metrics."""

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
    """The items that are captioned, as :func:`trainers.data.open_dataset` takes them."""

    source: str
    images: str | None = None
    split: str | None = None
    count: int | None = None
    id_column: str | None = None
    caption_column: tuple[str, ...] | None = None
    image_column: str | None = None

    def open(self) -> Dataset:
        """The items.

        Raises:
            InputError: they are not found.
        """
        from trainers.data import open_dataset

        options = asdict(self)
        return open_dataset(options.pop("source"), **options)

    @property
    def scenes(self) -> bool:
        """Whether they are of the scenes world, whose truth is known."""
        from capreward.data.images.scene_keys import names_scenes

        return names_scenes(self.source)


@dataclass(frozen=True)
class Evaluation:
    """What is asked of every captioner alike.

    Attributes:
        held_out: the items.
        metrics: comma-separated expressions.
        labelled: call the judge of scenes by that name.
        tokenizer: of text metrics that name none.
        beams: of the search; as the first run had it by default.
        max_length: tokens of a caption; likewise.
        constraints: further settings of the decoding: what captions do not say, and how their length counts.
        resamples: of the intervals; 0 for none.
        seed: of the intervals.
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
        """How intervals are drawn."""
        from capreward.reports.results import Bootstrap

        return Bootstrap(self.resamples, seed=self.seed) if self.resamples else None

    def evaluators(self, **shared: Any) -> list[Evaluator]:
        """The metrics, loaded.

        Args:
            shared: options of every evaluator that has them: device, workers, download, ...

        Raises:
            InputError: an unknown one, or missing weights.
        """
        from capreward.expression import canonical, parse_list
        from capreward.scoring import load_list

        found = load_list(self.metrics, tokenizer=self.tokenizer, **shared)
        if self.labelled:
            spelt = [canonical(node) for node in parse_list(self.metrics)]
            found[spelt.index(JUDGE)].label = "judge"
        return found


def held_out_of(sources: Sequence[NamedCaptioner], *, count: int | None = None) -> HeldOut:
    """The items that runs held out of their training; of scenes the test set, which no training looked at.

    Args:
        sources: of the captioners.
        count: the first so many items.

    Raises:
        InputError: they held out different items, or none.
    """
    found: dict[HeldOut, str] = {}
    for source in sources:
        items = _own_items(source)
        if items is not None:
            found.setdefault(items, source.name)
    if not found:
        raise InputError(f"{sources[0].name} names no held-out items; give --data with captions and pictures")
    if len(found) > 1:
        told = [f"{name} {items.source}" for items, name in found.items()]
        raise InputError(f"these runs held out different items ({shorten(told)}); give --data for all of them")
    items = next(iter(found))
    return items if count is None else replace(items, count=count)


def _own_items(source: NamedCaptioner) -> HeldOut | None:
    """What a captioner's run held out; for one without a run the test set of scenes, if that is what it looks at."""
    if source.config is None:
        return HeldOut(SCENES_TEST) if _looks_at_scenes(source) else None
    data = source.config.data
    if data.val is None:
        return None
    columns = (data.id_column, data.caption_column, data.image_column)
    items = HeldOut(data.val, data.val_images or data.images, data.val_split, data.val_count, *columns)
    return HeldOut(SCENES_TEST) if items.scenes else items


def _looks_at_scenes(source: NamedCaptioner) -> bool:
    from trainers.captioners.folder import CONFIG
    from trainers.comparison.named_captioners import SCENES

    if source.path == SCENES:
        return True
    try:
        told = json.loads((Path(source.path) / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    tower = told.get("tower") if isinstance(told, dict) else None
    return isinstance(tower, dict) and tower.get("source") == "scenes-clip"


def metrics_for(sources: Sequence[NamedCaptioner], held_out: HeldOut) -> str:
    """The metrics where none are asked for: all that scenes has, else CIDEr and what the runs were evaluated by.

    What runs on scenes were evaluated by (pacs by its small CLIP, scene-facts) says nothing of other pictures.
    """
    from capreward.data.images.scene_keys import names_scenes
    from capreward.expression import canonical, parse_list
    from trainers.optimizers.base import make_optimizer
    from trainers.runs.preparation import metrics_of

    if held_out.scenes:
        return SCENES_METRICS
    spelt = ["cider"]
    for config in _configs(sources):
        if config.data.val is not None and names_scenes(config.data.val):
            continue
        options = {k: v for k, v in config.optimizer.items() if k != "name"}
        spelt.append(metrics_of(config, make_optimizer(str(config.optimizer["name"]), options)))
    return ", ".join(dict.fromkeys(canonical(node) for text in spelt for node in parse_list(text)))


def load_plugins_of(sources: Sequence[NamedCaptioner]) -> None:
    """Import the rewards of one's own that runs were trained with, so that they can be metrics.

    Raises:
        InputError: a file that is not there or fails.
    """
    from capreward.plugins import load_plugins

    load_plugins([Path(path) for path in dict.fromkeys(p for config in _configs(sources) for p in config.plugins)])


def _configs(sources: Sequence[NamedCaptioner]) -> list[RunConfig]:
    return [source.config for source in sources if source.config is not None]


def evaluate_source(
    source: NamedCaptioner,
    sources: Sequence[NamedCaptioner],
    asked: Evaluation,
    dataset: Dataset,
    metrics: Sequence[Evaluator],
    running: DeviceOptions,
    *,
    before: Samples | None = None,
    progress: ProgressCallback | None = None,
) -> SystemResult:
    """Caption the items by one captioner, and judge what it says.

    Args:
        source: of the captioner.
        sources: of all that are compared.
        asked: of each of them.
        dataset: the items, opened.
        metrics: loaded.
        running: where and how.
        before: what another captioner said of the same items, whose pictures need no second encoding.
        progress: called as (what, done, total).

    Raises:
        InputError: no captioner, items that cannot be read, or a metric that lacks something.
    """
    from capreward.reports.systems import score_system
    from trainers.comparison.named_captioners import by_authors, decoding_for
    from trainers.evaluation.captions import caption_items
    from trainers.evaluation.search_settings import describe_search
    from trainers.runs.devices import autocast, workers_for

    workers = workers_for(running.workers, _size(dataset), drawn=asked.held_out.scenes)
    with autocast(running.device, running.precision):
        captioner = source.open(device=running.device, download=running.download)
        settings = decoding_for(sources, captioner, beams=asked.beams, max_length=asked.max_length, **asked.constraints)
        done = None if progress is None else _share(progress, _size(dataset))
        found = caption_items(
            captioner, dataset, settings, batch_size=running.batch_size, workers=workers, progress=done
        )
    _check(found, running)
    own = "; as its authors do, but for what is asked" if by_authors(sources, captioner) else ""
    samples = found.samples()
    if before is not None:
        samples.share_items(before)
    how = f"{describe_search(settings)}{own}"
    matched = f"{len(found.keys):,} pictures of {dataset.source}, captioned by {source.path} ({how})"
    halved = None if progress is None else lambda what, n, total: progress(what, 1 + n / max(total, 1), 2)
    return score_system(source.name, samples, metrics, asked.bootstrap, matched, progress=halved)


def _share(progress: ProgressCallback, total: int) -> Callable[[int], None]:
    """Captioning is the first half of the work."""
    return lambda n: progress("captioning", min(1.0, n / total), 2)


def _size(dataset: Dataset) -> int:
    """The number of items; of a stream, which does not know it, many."""
    try:
        return len(dataset)
    except TypeError:
        return MANY


def _check(found: CaptionedItems, running: DeviceOptions) -> None:
    if found.broken and not running.skip_broken:
        many = f"{len(found.broken):,} held-out item{'s' * (len(found.broken) != 1)} cannot be read"
        raise InputError(f"{many}: {shorten(found.broken)}; mend what is broken, or leave it out with --skip-broken")
