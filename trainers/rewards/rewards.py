"""Captions to rewards: an expression of evaluators, its terms and monitors logged each for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from capreward.errors import InputError
from capreward.evaluators.base import Evaluator
from capreward.evaluators.combined import Combined
from capreward.samples import Samples
from trainers.rewards.config import RewardConfig

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.expression import Metric, Node
    from trainers.data import Dataset

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

NEED_FREQUENCIES = ("cider", "cider-d", "cider-plain", "self-cider")
LEAST_SPREAD = 1e-6


@dataclass
class RewardBatch:
    """Rewards of B images with K captions each.

    Attributes:
        raw: as the evaluators gave them, float32 [B, K]; of a baseline without the terms that have none.
        parts: the mean of each term and monitor over the captions that are learned from, by name.
        baselines: the mean of each term over the captions that are the baseline, by name; empty where there are none.
        diversity: self-CIDEr of the captions that are learned from, float32 [B], where it is asked for.
    """

    raw: Tensor
    parts: dict[str, float]
    baselines: dict[str, float] = field(default_factory=dict)
    diversity: Tensor | None = None


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
        unbaselined: terms that a baseline has no part in, as they are spelt in the expression.
        diversity: self-CIDEr of an image's captions, where the optimizer asks for it.
    """

    evaluator: Evaluator
    monitors: list[Evaluator]
    config: RewardConfig
    moments: RunningMoments = field(default_factory=RunningMoments)
    pictures: Mapping[str, Any] = field(default_factory=dict)
    unbaselined: frozenset[str] = frozenset()
    diversity: Evaluator | None = None

    def judge(
        self,
        captions: list[str],
        keys: list[str],
        pictures: Sequence[Any],
        references: Sequence[Sequence[str]],
        *,
        monitored: bool = False,
        learned: int | None = None,
    ) -> RewardBatch:
        """Judge K captions of each of B images.

        Args:
            captions: B * K, the K of an image side by side.
            keys: B names.
            pictures: B, what ``Samples.images`` takes.
            references: B lists.
            monitored: ask the monitors as well.
            learned: the first so many of the K are learned from, the others are a baseline; all by default.
        """
        count = len(captions) // len(keys)
        learned = count if learned is None else learned
        shown = [self.pictures.get(key, picture) for key, picture in zip(keys, pictures, strict=True)]
        item = np.repeat(np.arange(len(keys), dtype=np.int64), count)
        samples = Samples(captions, references=[list(r) for r in references], images=shown, item=item, key=keys)
        own = np.tile(np.arange(count) < learned, len(keys))
        total, terms = self._values(samples, ~own)
        sampled = samples
        if learned < count:
            sampled = samples.take(np.flatnonzero(own))
            sampled.share_items(samples)
        lone = not isinstance(self.evaluator, Combined)
        found = RewardBatch(torch.from_numpy(total).float().view(len(keys), count), {})
        found.parts = {name: float(np.mean(values[own])) for name, values in terms.items() if not (lone and own.all())}
        if not own.all():
            found.baselines = {name: float(np.mean(values[~own])) for name, values in terms.items()}
        for monitor in self.monitors if monitored else ():
            monitor.check_needs(sampled)
            values = monitor.per_caption(sampled, monitor.prepare(sampled))[:, monitor.main]
            found.parts[monitor.label or monitor.name] = float(np.nanmean(values))
        if self.diversity is not None:
            values = self.diversity.per_caption(sampled, self.diversity.prepare(sampled))[:, 0]
            found.diversity = torch.from_numpy(values[::learned].copy()).float()
        return found

    def _values(self, samples: Samples, baseline: Bools) -> tuple[Floats, dict[str, Floats]]:
        """Rewards [N], in the rows of a baseline without the terms that have none, and those of each term [N]."""
        evaluator = self.evaluator
        evaluator.check_needs(samples)
        prepared = evaluator.prepare(samples)
        if not isinstance(evaluator, Combined):
            values = np.ascontiguousarray(evaluator.per_caption(samples, prepared)[:, evaluator.main])
            total = np.where(baseline, 0.0, values) if self.unbaselined else values
            return total, {evaluator.label or evaluator.name: values}
        terms = evaluator.term_values(samples, prepared)
        left = {m: np.where(baseline, 0.0, v) if str(m) in self.unbaselined else v for m, v in terms.items()}
        return evaluator.combined(left, len(samples)), {str(metric): values for metric, values in terms.items()}

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


def load_rewards(
    config: RewardConfig,
    dataset: Dataset | None,
    folder: Path | None,
    shared: Mapping[str, Any],
    *,
    varied: bool = False,
) -> tuple[Rewards, list[str]]:
    """The rewards of a run, and what was taken for them, one sentence each.

    CIDEr needs document frequencies that do not depend on the batch; where the expression names none, those of the
    training captions are counted and kept in the run's folder.

    Args:
        config: expression and monitors.
        dataset: the training items; None to count nothing, where they could not be opened.
        folder: of the run; None to count nothing (a dry run).
        shared: options for every evaluator that has them: device, download, workers.
        varied: judge how varied the captions of an image are as well.

    Raises:
        InputError: an unknown evaluator, missing weights, or one that cannot be a reward.
    """
    from capreward.expression import metrics_in, parse_list
    from capreward.scoring import load, load_list

    if len(parse_list(config.expression or "")) != 1:
        raise InputError(f"the reward {config.expression!r} is a list; join its terms by + or - into one expression")
    spelt = [text for text in (config.expression, config.monitors) if text]
    named = [metric for text in spelt for node in parse_list(text) for metric in metrics_in(node)]
    unbaselined = unbaselined_terms(config)
    wants = ["self-cider"] if varied else []
    wants += [m.name for m in named if _needs_frequencies(m)]
    notes: list[str] = []
    counted = dataset is not None and folder is not None

    def with_frequencies(expression: str | None) -> dict[str, Any]:
        """The options of a list's evaluators; those of CIDEr take the training captions' document frequencies."""
        terms = [metric for node in parse_list(expression or "") for metric in metrics_in(node)]
        terms = [metric for metric in terms if _needs_frequencies(metric)]
        if not terms or dataset is None or folder is None:
            return dict(shared)
        path, told = training_frequencies(dataset, folder, eos=_ends_captions(terms))
        notes.extend([told] if told not in notes else [])
        return {**shared, "df": str(path)}

    options = with_frequencies(config.expression)
    evaluator = load_list(config.expression or "", **options)[0]
    if counted or not wants:
        evaluator.check_reward()
    if evaluator.higher_is_better is False:
        notes.append(
            f"{evaluator.name} is better when lower, and the reward is maximised; did you mean -{evaluator.name}?"
        )
    monitors = load_list(config.monitors, **with_frequencies(config.monitors)) if config.monitors else []
    rewards = Rewards(evaluator, monitors, config, unbaselined=unbaselined)
    if varied:
        frequencies = with_frequencies("self-cider")
        rewards.diversity = load("self-cider", **{k: v for k, v in frequencies.items() if k == "df"})
    return rewards, notes


def unbaselined_terms(config: RewardConfig) -> frozenset[str]:
    """The terms of the reward that have no baseline, as they are spelt in it.

    Raises:
        InputError: one that is no term of the reward, or is multiplied with another.
    """
    from capreward.expression import metrics_in, parse, parse_list

    if not config.unbaselined:
        return frozenset()
    node = parse(config.expression or "")
    terms = [str(metric) for metric in metrics_in(node)]
    found = []
    for asked in parse_list(config.unbaselined):
        for metric in metrics_in(asked):
            spelt = [m for m in metrics_in(node) if m == metric or (m.name == metric.name and not metric.options)]
            if not spelt:
                raise InputError(f"reward.unbaselined names {metric}, and the reward has {', '.join(terms)}")
            found += spelt
    mixed = [str(m) for m in found if not _alone(node, m)]
    if mixed:
        raise InputError(f"reward.unbaselined names {mixed[0]}, which the reward multiplies with another evaluator")
    return frozenset(map(str, found))


def _alone(node: Node, metric: Metric) -> bool:
    """Whether a metric is multiplied with numbers alone, wherever it is."""
    from capreward.expression import Operation, metrics_in

    if not isinstance(node, Operation):
        return True
    both = [metrics_in(node.left), metrics_in(node.right)]
    if node.operator == "*" and all(both) and any(metric in side for side in both):
        return False
    return _alone(node.left, metric) and _alone(node.right, metric)


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


def _needs_frequencies(metric: Metric) -> bool:
    return metric.name in NEED_FREQUENCIES and "df" not in dict(metric.options)


def _ends_captions(terms: Sequence[Metric]) -> bool:
    """Whether CIDEr's terms in one list count an end token (``eos=true``).

    Raises:
        InputError: some do and some do not, for which one file of frequencies is not enough.
    """
    ends = [dict(term.options).get("eos", False) is True for term in terms]
    if any(ends) and not all(ends):
        with_end, without = terms[ends.index(True)], terms[ends.index(False)]
        raise InputError(
            f"{with_end.name}(eos=true) counts an end token, {without} none; give both eos=true, or one of them a df"
        )
    return any(ends)


def training_frequencies(dataset: Dataset, folder: Path, *, eos: bool = False) -> tuple[Path, str]:
    """Count the n-grams of the training captions, once per run; the file and a sentence about it.

    Args:
        dataset: the training items.
        folder: of the run.
        eos: each caption ends in an end token.

    Raises:
        InputError: the file cannot be written.
    """
    from capreward.evaluators.cider import CiderD
    from capreward.text.corpus import reference_grams
    from capreward.text.frequencies import DocumentFrequencies

    path = folder / f"document-frequencies-{dataset.fingerprint()}{'-eos' if eos else ''}.npz"
    if not path.exists():
        samples = Samples([], references=[list(dataset[i].captions) for i in range(len(dataset))], item=[])
        DocumentFrequencies.of(reference_grams(samples, CiderD(eos=eos).tokenizer), dataset.source).save(path)
    return path, f"CIDEr takes its document frequencies from the training captions ({path})"
