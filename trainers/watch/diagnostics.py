"""The diagnostics of a gamed reward: measures of captions that the reward does not contain."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.samples import Samples
from trainers.watch.config import AUTO, DiagnosticsConfig

if TYPE_CHECKING:
    from capreward.evaluators.base import Evaluator
    from trainers.data import Dataset
    from trainers.watch.novelty import Novelty

Floats = npt.NDArray[np.float64]

JUDGE = "clips(checkpoint=scenes-judge)"  # of scenes, held out: no reward is made of it
SCENES_GRAMMAR = "grammar(checkpoint=scenes-grammar)"
MOST_HELD_OUT = 500  # held-out captions judged at most


@dataclass
class Diagnostics:
    """The diagnostics of a run.

    Attributes:
        config: The settings: how often, and for how many images.
        evaluators: The evaluators by the name of their column: ``repetition``, and ``grammar`` and ``judge`` if there
            are any.
        novelty: The hashed training captions; None if they are not counted.
        pictures: Pictures for the diagnostics by key, in place of the captioner's pictures, if the run names others.
    """

    config: DiagnosticsConfig
    evaluators: dict[str, Evaluator]
    novelty: Novelty | None = None
    pictures: Mapping[str, Any] = field(default_factory=dict)
    _last_held_out: Samples | None = None

    def due(self, step: int) -> bool:
        """Return whether the candidates of the update after ``step`` are diagnosed."""
        return (step + 1) % self.config.every == 0

    @property
    def columns(self) -> list[str]:
        """The names of the columns of ``measure``; they are always the same."""
        return [*self.evaluators, *(("novel", "novel_phrases") if self.novelty is not None else ())]

    def select_images(self, first: int, count: int, total: int) -> list[int]:
        """Return which of ``count`` images are diagnosed.

        They are evenly spaced among the images of a step, in whatever way processes and micro-batches share these
        images.

        Args:
            first: The place of the first of these images among the images of the step.
            count: The number of images of a process and micro-batch.
            total: The number of images of the step.
        """
        stride = self.stride(total)
        return list(range(-first % stride, count, stride))

    def stride(self, total: int) -> int:
        """Return the distance between diagnosed images, for ``total`` images of a step."""
        return -(-total // self.config.images)

    def measure(
        self, captions: list[str], keys: list[str], pictures: Sequence[Any], references: Sequence[Sequence[str]]
    ) -> dict[str, Floats]:
        """Compute the diagnostics of K captions of each of B images.

        Args:
            captions: The B * K captions; the K of an image stand side by side.
            keys: The B keys of the images.
            pictures: The B pictures, as ``Samples.images`` takes them.
            references: The B lists of references.

        Returns:
            For each column float64 [B * K], NaN where it does not apply.
        """
        if not captions:
            return {name: np.zeros(0) for name in self.columns}
        images = [self.pictures.get(key, picture) for key, picture in zip(keys, pictures, strict=True)]
        item = np.repeat(np.arange(len(keys), dtype=np.int64), len(captions) // max(1, len(keys)))
        samples = Samples(captions, references=references, images=images, item=item, key=keys)
        return self._measure_samples(samples, self.evaluators)

    def measure_held_out(
        self,
        captions: Sequence[str],
        keys: Sequence[str],
        pictures: Sequence[Any],
        references: Sequence[list[str]],
        known: Collection[str],
    ) -> dict[str, float]:
        """Compute means over the captions of held-out items; if there are more than 500, over 500 evenly spaced ones.

        Args:
            captions: The N captions, one for each item.
            keys: The N keys of the items.
            pictures: The N pictures, as ``Samples.images`` takes them.
            references: The N lists of references.
            known: The columns that the metrics have already.
        """
        from capreward.scoring import load

        spaced = slice(None, None, -(-len(captions) // MOST_HELD_OUT))
        samples = Samples(captions[spaced], references=references[spaced], images=pictures[spaced], key=keys[spaced])
        if self._last_held_out is not None:
            samples.share_items(self._last_held_out)  # their pictures need no second encoding
        values = means(self._measure_samples(samples, {**self.evaluators, "length": load("length")}, known))
        self._last_held_out = samples
        return values

    def _measure_samples(
        self, samples: Samples, evaluators: Mapping[str, Evaluator], known: Collection[str] = ()
    ) -> dict[str, Floats]:
        columns = {
            name: np.asarray(evaluator.per_caption(samples, evaluator.prepare(samples))[:, evaluator.main])
            for name, evaluator in evaluators.items()
            if name not in known
        }
        return columns if self.novelty is None else {**columns, **self.novelty.measure(samples.captions)}


def means(columns: Mapping[str, Floats]) -> dict[str, float]:
    """Return the mean of each column over the captions that it applies to; a column without any is left out."""
    applying = {name: values[~np.isnan(values)] for name, values in columns.items()}
    return {name: float(values.mean()) for name, values in applying.items() if len(values)}


def load_diagnostics(
    config: DiagnosticsConfig,
    rewarded: str | None,
    train: Dataset | None,
    folder: Path | None,
    shared: Mapping[str, Any],
    pictures: Mapping[str, Any] = MappingProxyType({}),
    *,
    scenes: bool = False,
) -> tuple[Diagnostics | None, list[str]]:
    """Load the diagnostics of a run, and return a sentence for each one that is left out.

    Args:
        config: The section of the configuration.
        rewarded: The expression of the reward, of which no diagnostic may be a part.
        train: The training items of the run; None to count nothing, if they could not be opened.
        folder: The folder of the run; None to count nothing (a dry run).
        shared: Options for every evaluator that has them: device, download, workers.
        pictures: Pictures by key, in place of the captioner's pictures.
        scenes: Whether the training items belong to the scenes world, which has a judge and a grammar of its own.

    Raises:
        InputError: An evaluator was named and cannot be loaded.
    """
    from capreward.scoring import load

    if not config.enabled:
        return None, []
    evaluators: dict[str, Evaluator] = {"repetition": load("repetition")}
    notes: list[str] = []
    first = None if train is None else first_sample(train, pictures)
    for name, usual_expression in usual_evaluators(scenes=scenes).items():
        expression = getattr(config, name)
        try:
            evaluator = _load_evaluator(
                usual_expression if expression == AUTO else expression, rewarded or "", first, shared
            )
        except InputError as error:
            if expression != AUTO:
                raise InputError(f"diagnostics.{name}: {error}") from error
            evaluator, reason = None, str(error)
        else:
            reason = "none is named"
        if evaluator is not None:
            evaluators[name] = evaluator
        elif expression is not None:
            notes.append(f"{LEFT_OUT[name]} ({reason.split(';')[0]}); {HINTS[name]}")
    novelty = None
    if train is not None and folder is not None and config.novelty:
        novelty, novelty_notes = _novelty(train, folder, config.novelty_items)
        notes += novelty_notes
    return Diagnostics(config, evaluators, novelty, pictures), notes


LEFT_OUT = {
    "judge": "no held-out judge watches the reward",
    "grammar": "the captions' grammar is not watched",
}
HINTS = {
    "judge": "give --judge with an evaluator that the reward is not made of",
    "grammar": "give --set diagnostics.grammar=EXPRESSION to watch it",
}


def usual_evaluators(*, scenes: bool) -> dict[str, str | None]:
    """Return the usual judge and grammar: for scenes those of the scenes world, otherwise the published grammar."""
    return {"judge": JUDGE if scenes else None, "grammar": SCENES_GRAMMAR if scenes else "grammar"}


def _load_evaluator(
    expression: str | None, rewarded: str, first: Samples | None, shared: Mapping[str, Any]
) -> Evaluator | None:
    """Load an evaluator and let it score one caption; None if no evaluator is named.

    Raises:
        InputError: The evaluator is unknown, lacks something, or is a part of the reward.
    """
    from capreward.scoring import load_list

    if expression is None:
        return None
    if _metrics(expression) & _metrics(rewarded):
        raise InputError(f"{expression} is part of the reward {rewarded}")
    evaluators = load_list(expression, **shared)
    if len(evaluators) != 1:
        raise InputError(f"{expression!r} is a list; name one evaluator")
    if first is not None:
        evaluators[0].check_needs(first)
        evaluators[0].per_caption(first, evaluators[0].prepare(first))
    return evaluators[0]


def first_sample(train: Dataset, pictures: Mapping[str, Any]) -> Samples | None:
    """Return the first reference caption of the first item, with its picture; None for a stream."""
    item = train.first()
    if item is None:
        return None
    picture = pictures.get(item.key, item.picture)
    return Samples([item.captions[0]], references=[list(item.captions)], images=[picture], key=[item.key])


def _metrics(expression: str) -> set[str]:
    from capreward.expression import metrics_in, parse_list

    return {str(metric) for node in parse_list(expression) for metric in metrics_in(node)} if expression else set()


def _novelty(train: Dataset, folder: Path, items: int | None) -> tuple[Novelty | None, list[str]]:
    from trainers.data.streams import Stream
    from trainers.watch.novelty import training_novelty

    if isinstance(train, Stream):
        return None, [f"novelty is not watched, for {train.source} is streamed and its captions are not counted"]
    return training_novelty(train, folder, items), []
