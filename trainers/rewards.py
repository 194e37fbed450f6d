"""Captions to rewards: an expression of evaluators, its terms and monitors logged each for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from capreward.errors import InputError
from capreward.evaluators.base import Evaluator
from capreward.evaluators.combined import Combined
from capreward.samples import Samples
from trainers.config import RewardConfig

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.data import Dataset

NEED_FREQUENCIES = ("cider", "cider-d", "cider-plain")
LEAST_SPREAD = 1e-6


@dataclass
class Judged:
    """Rewards of B images with K captions each.

    Attributes:
        raw: as the evaluators gave them, float32 [B, K].
        parts: the mean of each term and monitor, by name.
    """

    raw: Tensor
    parts: dict[str, float]


@dataclass
class RunningMoments:
    """Mean and variance of all rewards so far (Chan et al. 1979), part of a checkpoint."""

    count: float = 0.0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: Tensor) -> None:
        """Count a batch of rewards in."""
        new, at = float(values.numel()), float(values.double().mean())
        squares = float((values.double() - at).square().sum())
        total, gap = self.count + new, at - self.mean
        self.squares += squares + gap * gap * self.count * new / total
        self.mean += gap * new / total
        self.count = total

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return float((self.squares / max(self.count, 1.0)) ** 0.5)


@dataclass
class Rewards:
    """A reward expression at work.

    Attributes:
        evaluator: of the expression.
        monitors: logged beside it.
        config: clipping, normalisation and how often monitors are asked.
        moments: of all rewards so far.
        pictures: by key, in place of those that the captioner looks at, where the run names others for rewards.
    """

    evaluator: Evaluator
    monitors: list[Evaluator]
    config: RewardConfig
    moments: RunningMoments = field(default_factory=RunningMoments)
    pictures: Mapping[str, Any] = field(default_factory=dict)

    def judge(
        self,
        captions: list[str],
        keys: list[str],
        pictures: Sequence[Any],
        references: Sequence[Sequence[str]],
        *,
        monitored: bool = False,
    ) -> Judged:
        """Judge K captions of each of B images.

        Args:
            captions: B * K, the K of an image side by side.
            keys: B names.
            pictures: B, what ``Samples.images`` takes.
            references: B lists.
            monitored: ask the monitors as well.
        """
        count = len(captions) // len(keys)
        shown = [self.pictures.get(key, picture) for key, picture in zip(keys, pictures, strict=True)]
        item = np.repeat(np.arange(len(keys), dtype=np.int64), count)
        samples = Samples(captions, references=[list(r) for r in references], images=shown, item=item, key=keys)
        parts: dict[str, float] = {}
        total = _values(self.evaluator, samples, parts)
        for monitor in self.monitors if monitored else ():
            parts[monitor.label or monitor.name] = float(np.nanmean(_values(monitor, samples, {})))
        return Judged(torch.from_numpy(total).float().view(len(keys), count), parts)

    def shaped(self, raw: Tensor, everything: Tensor) -> Tensor:
        """Rewards as the optimizer sees them: clipped, then normalised.

        Args:
            raw: float32 [B, K] of this process.
            everything: those of all processes, flat; the same as ``raw`` where there is one.
        """
        config = self.config
        kept, every = raw, everything
        if config.low is not None or config.high is not None:
            kept, every = raw.clamp(config.low, config.high), everything.clamp(config.low, config.high)
        if config.normalise == "none":
            return kept
        if config.normalise == "batch":
            mean, deviation = float(every.mean()), float(every.std(correction=0))
        else:
            self.moments.add(every)
            mean, deviation = self.moments.mean, self.moments.deviation
        return (kept - mean) / max(deviation, LEAST_SPREAD)


def _values(evaluator: Evaluator, samples: Samples, parts: dict[str, float]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Per-caption values [N]; the terms' means go into ``parts``."""
    evaluator.check_needs(samples)
    prepared = evaluator.prepare(samples)
    if isinstance(evaluator, Combined):
        terms = evaluator.term_values(samples, prepared)
        parts.update({str(metric): float(np.mean(values)) for metric, values in terms.items()})
        return evaluator.combined(terms, len(samples))
    values = evaluator.per_caption(samples, prepared)[:, evaluator.main]
    return np.ascontiguousarray(values)


def load_rewards(
    config: RewardConfig, dataset: Dataset | None, folder: Path | None, shared: Mapping[str, Any]
) -> tuple[Rewards, list[str]]:
    """The rewards of a run, and what was taken for them, one sentence each.

    CIDEr needs document frequencies that do not depend on the batch; where the expression names none, those of the
    training captions are counted and kept in the run's folder.

    Args:
        config: expression and monitors.
        dataset: the training items; None to count nothing, where they could not be opened.
        folder: of the run; None to count nothing (a dry run).
        shared: options for every evaluator that has them: device, download, workers.

    Raises:
        InputError: an unknown evaluator, missing weights, or one that cannot be a reward.
    """
    from capreward.expression import metrics_in, parse_list
    from capreward.scoring import load_list

    if len(parse_list(config.expression or "")) != 1:
        raise InputError(f"the reward {config.expression!r} is a list; join its terms by + or - into one expression")
    spelt = [text for text in (config.expression, config.monitors) if text]
    named = [metric for text in spelt for node in parse_list(text) for metric in metrics_in(node)]
    wants = [m.name for m in named if m.name in NEED_FREQUENCIES and "df" not in dict(m.options)]
    options, notes = dict(shared), []
    counted = dataset is not None and folder is not None
    if wants and dataset is not None and folder is not None:
        path, told = training_frequencies(dataset, folder)
        options["df"] = str(path)
        notes.append(told)
    evaluator = load_list(config.expression or "", **options)[0]
    if counted or not wants:
        evaluator.check_reward()
    if evaluator.higher_is_better is False:
        notes.append(
            f"{evaluator.name} is better when lower, and the reward is maximised; did you mean -{evaluator.name}?"
        )
    monitors = load_list(config.monitors, **options) if config.monitors else []
    return Rewards(evaluator, monitors, config), notes


def wrong_terms(config: RewardConfig, dataset: Dataset | None, shared: Mapping[str, Any]) -> list[str]:
    """What is wrong with each term of a reward for itself, so that all of it can be told at once."""
    from capreward.expression import metrics_in, parse_list
    from capreward.scoring import load_list

    wrong = []
    try:
        named = [metric for node in parse_list(config.expression or "") for metric in metrics_in(node)]
    except InputError as error:
        return [str(error)]
    for metric in named:
        try:
            evaluator = load_list(str(metric), **shared)[0]
            if dataset is not None and len(dataset):
                item = dataset[0]
                evaluator.preprocessings(Samples([""], references=[list(item.captions)], images=[item.picture]))
        except InputError as error:
            wrong.append(str(error))
    return wrong


def training_frequencies(dataset: Dataset, folder: Path) -> tuple[Path, str]:
    """Count the n-grams of the training captions, once per run; the file and a sentence about it.

    Raises:
        InputError: the file cannot be written.
    """
    from capreward.evaluators.cider import CiderD
    from capreward.text.corpus import reference_grams
    from capreward.text.frequencies import DocumentFrequencies

    path = folder / f"document-frequencies-{dataset.fingerprint()}.npz"
    if not path.exists():
        samples = Samples([], references=[list(dataset[i].captions) for i in range(len(dataset))], item=[])
        DocumentFrequencies.of(reference_grams(samples, CiderD().tokenizer), dataset.source).save(path)
    return path, f"CIDEr takes its document frequencies from the training captions ({path})"
