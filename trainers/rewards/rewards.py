"""The computation of rewards: an expression of evaluators, whose terms and monitors are logged one by one."""

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
    """The rewards of B images with K captions each.

    Attributes:
        raw: The rewards as the evaluators gave them, float32 [B, K]; a baseline's rewards leave out the terms without a
            baseline.
        parts: The mean of each term and monitor over the captions that are learned from, by name.
        baselines: The mean of each term over the captions of the baseline, by name; empty if there is none.
        diversity: The self-CIDEr of the captions that are learned from, float32 [B]; None if it is not used.
    """

    raw: Tensor
    parts: dict[str, float]
    baselines: dict[str, float] = field(default_factory=dict)
    diversity: Tensor | None = None


@dataclass
class RunningMoments:
    """The mean and the variance of all rewards so far (Chan et al. 1979), as part of a checkpoint."""

    count: float = 0.0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: Tensor) -> None:
        """Add a batch of rewards."""
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
    """A reward expression with its evaluators, monitors and normalisation.

    Attributes:
        evaluator: The evaluator of the expression.
        monitors: The evaluators that are only logged.
        config: The settings of clipping, of normalisation and of how often monitors are computed.
        moments: The moments of all rewards so far.
        pictures: Pictures for rewards by key, in place of the captioner's pictures, if the run names others.
        unbaselined: The terms that have no baseline, as they are spelt in the expression.
        diversity: The evaluator of self-CIDEr of an image's captions, if the optimizer uses it.
    """

    evaluator: Evaluator
    monitors: list[Evaluator]
    config: RewardConfig
    moments: RunningMoments = field(default_factory=RunningMoments)
    pictures: Mapping[str, Any] = field(default_factory=dict)
    unbaselined: frozenset[str] = frozenset()
    diversity: Evaluator | None = None

    def compute(
        self,
        captions: list[str],
        keys: list[str],
        pictures: Sequence[Any],
        references: Sequence[Sequence[str]],
        *,
        monitored: bool = False,
        learned: int | None = None,
    ) -> RewardBatch:
        """Compute the rewards of K captions of each of B images.

        Args:
            captions: The B * K captions; the K of an image stand side by side.
            keys: The B keys of the images.
            pictures: The B pictures, as ``Samples.images`` takes them.
            references: The B lists of references.
            monitored: Whether the monitors are computed too.
            learned: The number of the K captions, from the first on, that are learned from; the others are a baseline.
                All by default.
        """
        count = len(captions) // len(keys)
        learned = count if learned is None else learned
        images = [self.pictures.get(key, picture) for key, picture in zip(keys, pictures, strict=True)]
        item = np.repeat(np.arange(len(keys), dtype=np.int64), count)
        samples = Samples(captions, references=[list(r) for r in references], images=images, item=item, key=keys)
        is_learned = np.tile(np.arange(count) < learned, len(keys))
        total, terms = self._reward_and_terms(samples, ~is_learned)
        learned_samples = samples
        if learned < count:
            learned_samples = samples.take(np.flatnonzero(is_learned))
            learned_samples.share_items(samples)
        single_term = not isinstance(self.evaluator, Combined)
        batch = RewardBatch(torch.from_numpy(total).float().view(len(keys), count), {})
        batch.parts = {
            name: float(np.mean(values[is_learned]))
            for name, values in terms.items()
            if not (single_term and is_learned.all())
        }
        if not is_learned.all():
            batch.baselines = {name: float(np.mean(values[~is_learned])) for name, values in terms.items()}
        for monitor in self.monitors if monitored else ():
            monitor.check_needs(learned_samples)
            values = monitor.per_caption(learned_samples, monitor.prepare(learned_samples))[:, monitor.main]
            batch.parts[monitor.label or monitor.name] = float(np.nanmean(values))
        if self.diversity is not None:
            values = self.diversity.per_caption(learned_samples, self.diversity.prepare(learned_samples))[:, 0]
            batch.diversity = torch.from_numpy(values[::learned].copy()).float()
        return batch

    def _reward_and_terms(self, samples: Samples, baseline: Bools) -> tuple[Floats, dict[str, Floats]]:
        """Return the rewards [N] and the values [N] of each term.

        The rewards of a baseline's rows leave out the terms without a baseline.
        """
        evaluator = self.evaluator
        evaluator.check_needs(samples)
        prepared = evaluator.prepare(samples)
        if not isinstance(evaluator, Combined):
            values = np.ascontiguousarray(evaluator.per_caption(samples, prepared)[:, evaluator.main])
            total = np.where(baseline, 0.0, values) if self.unbaselined else values
            return total, {evaluator.label or evaluator.name: values}
        terms = evaluator.term_values(samples, prepared)
        counted = {m: np.where(baseline, 0.0, v) if str(m) in self.unbaselined else v for m, v in terms.items()}
        return evaluator.combined(counted, len(samples)), {str(metric): values for metric, values in terms.items()}

    def clip_and_normalise(self, raw: Tensor, everything: Tensor) -> Tensor:
        """Clip the rewards, then normalise them, as the optimizer uses them.

        Args:
            raw: The rewards float32 [B, K] of this process.
            everything: The rewards of all processes, flat; the same as ``raw`` if there is one process.
        """
        config = self.config
        clipped, all_clipped = raw, everything
        if config.low is not None or config.high is not None:
            clipped, all_clipped = raw.clamp(config.low, config.high), everything.clamp(config.low, config.high)
        if config.normalise == "none":
            return clipped
        if config.normalise == "batch":
            mean, deviation = float(all_clipped.mean()), float(all_clipped.std(correction=0))
        else:
            self.moments.add(all_clipped)
            mean, deviation = self.moments.mean, self.moments.deviation
        return (clipped - mean) / max(deviation, LEAST_SPREAD)


def load_rewards(
    config: RewardConfig,
    dataset: Dataset | None,
    folder: Path | None,
    shared: Mapping[str, Any],
    *,
    varied: bool = False,
) -> tuple[Rewards, list[str]]:
    """Load the rewards of a run, and return notes about them, one sentence each.

    CIDEr needs document frequencies that do not depend on the batch. If the expression names none, those of the
    training captions are counted and stored in the run's folder.

    Args:
        config: The section of the configuration with expression and monitors.
        dataset: The training items; None to count nothing, if they could not be opened.
        folder: The folder of the run; None to count nothing (a dry run).
        shared: Options for every evaluator that has them: device, download, workers.
        varied: Whether the diversity of an image's captions is computed too.

    Raises:
        InputError: An evaluator is unknown, its weights are missing, or it cannot be a reward.
    """
    from capreward.expression import metrics_in, parse_list
    from capreward.scoring import load, load_list

    if len(parse_list(config.expression or "")) != 1:
        raise InputError(f"the reward {config.expression!r} is a list; join its terms by + or - into one expression")
    expressions = [text for text in (config.expression, config.monitors) if text]
    metrics = [metric for text in expressions for node in parse_list(text) for metric in metrics_in(node)]
    unbaselined = unbaselined_terms(config)
    needing = ["self-cider"] if varied else []
    needing += [m.name for m in metrics if _needs_frequencies(m)]
    notes: list[str] = []
    can_count = dataset is not None and folder is not None

    def with_frequencies(expression: str | None) -> dict[str, Any]:
        """Return the options of a list's evaluators; CIDEr's take the training captions' document frequencies."""
        terms = [metric for node in parse_list(expression or "") for metric in metrics_in(node)]
        terms = [metric for metric in terms if _needs_frequencies(metric)]
        if not terms or dataset is None or folder is None:
            return dict(shared)
        path, note = training_frequencies(dataset, folder, eos=_ends_captions(terms))
        notes.extend([note] if note not in notes else [])
        return {**shared, "df": str(path)}

    options = with_frequencies(config.expression)
    evaluator = load_list(config.expression or "", **options)[0]
    if can_count or not needing:
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
    """Return the terms of the reward that have no baseline, as they are spelt in it.

    Raises:
        InputError: A name is no term of the reward, or the term is multiplied with another one.
    """
    from capreward.expression import metrics_in, parse, parse_list

    if not config.unbaselined:
        return frozenset()
    node = parse(config.expression or "")
    terms = [str(metric) for metric in metrics_in(node)]
    matches = []
    for entry in parse_list(config.unbaselined):
        for metric in metrics_in(entry):
            matching = [m for m in metrics_in(node) if m == metric or (m.name == metric.name and not metric.options)]
            if not matching:
                raise InputError(f"reward.unbaselined names {metric}, and the reward has {', '.join(terms)}")
            matches += matching
    mixed = [str(m) for m in matches if not _only_scaled(node, m)]
    if mixed:
        raise InputError(f"reward.unbaselined names {mixed[0]}, which the reward multiplies with another evaluator")
    return frozenset(map(str, matches))


def _only_scaled(node: Node, metric: Metric) -> bool:
    """Return whether a metric is multiplied only with numbers, wherever it stands."""
    from capreward.expression import Operation, metrics_in

    if not isinstance(node, Operation):
        return True
    both = [metrics_in(node.left), metrics_in(node.right)]
    if node.operator == "*" and all(both) and any(metric in side for side in both):
        return False
    return _only_scaled(node.left, metric) and _only_scaled(node.right, metric)


def wrong_terms(config: RewardConfig, dataset: Dataset | None, shared: Mapping[str, Any]) -> list[str]:
    """Return the errors of all terms of a reward, so that they can be reported together."""
    from capreward.expression import metrics_in, parse_list
    from capreward.scoring import load_list

    errors = []
    try:
        metrics = [metric for node in parse_list(config.expression or "") for metric in metrics_in(node)]
    except InputError as error:
        return [str(error)]
    for metric in metrics:
        try:
            evaluator = load_list(str(metric), **shared)[0]
            if dataset is not None and len(dataset):
                item = dataset[0]
                evaluator.preprocessings(Samples([""], references=[list(item.captions)], images=[item.picture]))
        except InputError as error:
            errors.append(str(error))
    return errors


def _needs_frequencies(metric: Metric) -> bool:
    return metric.name in NEED_FREQUENCIES and "df" not in dict(metric.options)


def _ends_captions(terms: Sequence[Metric]) -> bool:
    """Return whether CIDEr's terms in one list count an end token (``eos=true``).

    Raises:
        InputError: Some terms do and some do not; one file of frequencies is not enough for both.
    """
    ends = [dict(term.options).get("eos", False) is True for term in terms]
    if any(ends) and not all(ends):
        with_end, without = terms[ends.index(True)], terms[ends.index(False)]
        raise InputError(
            f"{with_end.name}(eos=true) counts an end token, {without} none; give both eos=true, or one of them a df"
        )
    return any(ends)


def training_frequencies(dataset: Dataset, folder: Path, *, eos: bool = False) -> tuple[Path, str]:
    """Count the n-grams of the training captions, once per run; return the file and a sentence about it.

    Args:
        dataset: The training items.
        folder: The folder of the run.
        eos: Whether each caption ends in an end token.

    Raises:
        InputError: The file cannot be written.
    """
    from capreward.evaluators.cider import CiderD
    from capreward.text.corpus import reference_grams
    from capreward.text.frequencies import DocumentFrequencies

    path = folder / f"document-frequencies-{dataset.fingerprint()}{'-eos' if eos else ''}.npz"
    if not path.exists():
        samples = Samples([], references=[list(dataset[i].captions) for i in range(len(dataset))], item=[])
        DocumentFrequencies.of(reference_grams(samples, CiderD(eos=eos).tokenizer), dataset.source).save(path)
    return path, f"CIDEr takes its document frequencies from the training captions ({path})"
