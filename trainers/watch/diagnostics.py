"""What shows that a reward is being gamed: captions judged by what they are not rewarded for."""

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
SHARED = 500  # held-out captions judged at most


@dataclass
class Diagnostics:
    """The diagnostics of a run.

    Attributes:
        config: how often, and of how many images.
        evaluators: by the name of their column: ``repetition``, and ``grammar`` and ``judge`` where there are any.
        novelty: of the training captions; None where they are not counted.
        pictures: by key, in place of those that the captioner looks at, where the run names others for rewards.
    """

    config: DiagnosticsConfig
    evaluators: dict[str, Evaluator]
    novelty: Novelty | None = None
    pictures: Mapping[str, Any] = field(default_factory=dict)
    _before: Samples | None = None

    def due(self, step: int) -> bool:
        """Whether the candidates of the update after ``step`` are diagnosed."""
        return (step + 1) % self.config.every == 0

    @property
    def columns(self) -> list[str]:
        """The names of what ``measure`` gives, always the same."""
        return [*self.evaluators, *(("novel", "novel_phrases") if self.novelty is not None else ())]

    def chosen(self, first: int, count: int, total: int) -> list[int]:
        """Which of ``count`` images are diagnosed.

        They are evenly spaced among the images of a step, whatever processes and micro-batches these are shared out to.

        Args:
            first: the place of the first of them among the images of the step.
            count: images of a process and micro-batch.
            total: images of the step.
        """
        stride = self.stride(total)
        return list(range(-first % stride, count, stride))

    def stride(self, total: int) -> int:
        """Of so many images of a step each time one is diagnosed."""
        return -(-total // self.config.images)

    def measure(
        self, captions: list[str], keys: list[str], pictures: Sequence[Any], references: Sequence[Sequence[str]]
    ) -> dict[str, Floats]:
        """Judge K captions of each of B images.

        Args:
            captions: B * K, the K of an image side by side.
            keys: B names.
            pictures: B, what ``Samples.images`` takes.
            references: B lists.

        Returns:
            Per column float64 [B * K], NaN where it does not apply.
        """
        if not captions:
            return {name: np.zeros(0) for name in self.columns}
        shown = [self.pictures.get(key, picture) for key, picture in zip(keys, pictures, strict=True)]
        item = np.repeat(np.arange(len(keys), dtype=np.int64), len(captions) // max(1, len(keys)))
        samples = Samples(captions, references=references, images=shown, item=item, key=keys)
        return self._measured(samples, self.evaluators)

    def held_out(
        self,
        captions: Sequence[str],
        keys: Sequence[str],
        pictures: Sequence[Any],
        references: Sequence[list[str]],
        known: Collection[str],
    ) -> dict[str, float]:
        """Means over the captions of held-out items, of 500 evenly spaced ones where there are more.

        Args:
            captions: N, one of each item.
            keys: N names.
            pictures: N, what ``Samples.images`` takes.
            references: N lists.
            known: columns that the metrics have already.
        """
        from capreward.scoring import load

        every = slice(None, None, -(-len(captions) // SHARED))
        samples = Samples(captions[every], references=references[every], images=pictures[every], key=keys[every])
        if self._before is not None:
            samples.share_items(self._before)  # their pictures need no second encoding
        told = means(self._measured(samples, {**self.evaluators, "length": load("length")}, known))
        self._before = samples
        return told

    def _measured(
        self, samples: Samples, evaluators: Mapping[str, Evaluator], known: Collection[str] = ()
    ) -> dict[str, Floats]:
        found = {
            name: np.asarray(evaluator.per_caption(samples, evaluator.prepare(samples))[:, evaluator.main])
            for name, evaluator in evaluators.items()
            if name not in known
        }
        return found if self.novelty is None else {**found, **self.novelty.measure(samples.captions)}


def means(columns: Mapping[str, Floats]) -> dict[str, float]:
    """The mean of each column over the captions that it applies to; a column without any is left out."""
    known = {name: values[~np.isnan(values)] for name, values in columns.items()}
    return {name: float(values.mean()) for name, values in known.items() if len(values)}


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
    """The diagnostics of a run, and a sentence for each that is left out.

    Args:
        config: what is asked for.
        rewarded: the expression of the reward, of which no diagnostic may be a part.
        train: the training items of the run; None to count nothing, where they could not be opened.
        folder: of the run; None to count nothing (a dry run).
        shared: options for every evaluator that has them: device, download, workers.
        pictures: by key, in place of those that the captioner looks at.
        scenes: the training items are of the scenes world, which has a judge and a grammar of its own.

    Raises:
        InputError: an evaluator that was named and cannot be had.
    """
    from capreward.scoring import load

    if not config.enabled:
        return None, []
    evaluators: dict[str, Evaluator] = {"repetition": load("repetition")}
    notes: list[str] = []
    first = None if train is None else shown_first(train, pictures)
    for name, usual in usual_evaluators(scenes=scenes).items():
        named = getattr(config, name)
        try:
            found = _loaded(usual if named == AUTO else named, rewarded or "", first, shared)
        except InputError as error:
            if named != AUTO:
                raise InputError(f"diagnostics.{name}: {error}") from error
            found, reason = None, str(error)
        else:
            reason = "none is named"
        if found is not None:
            evaluators[name] = found
        elif named is not None:
            notes.append(f"{LEFT_OUT[name]} ({reason.split(';')[0]}); {HINTS[name]}")
    novelty = None
    if train is not None and folder is not None and config.novelty:
        novelty, told = _novelty(train, folder, config.novelty_items)
        notes += told
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
    """Judge and grammar where the configuration names none: those of scenes there, elsewhere the published grammar."""
    return {"judge": JUDGE if scenes else None, "grammar": SCENES_GRAMMAR if scenes else "grammar"}


def _loaded(named: str | None, rewarded: str, first: Samples | None, shared: Mapping[str, Any]) -> Evaluator | None:
    """An evaluator that has judged a caption; None where none is named.

    Raises:
        InputError: it is unknown, lacks something, or is what the reward is made of.
    """
    from capreward.scoring import load_list

    if named is None:
        return None
    if _metrics(named) & _metrics(rewarded):
        raise InputError(f"{named} is part of the reward {rewarded}")
    found = load_list(named, **shared)
    if len(found) != 1:
        raise InputError(f"{named!r} is a list; name one evaluator")
    if first is not None:
        found[0].check_needs(first)
        found[0].per_caption(first, found[0].prepare(first))
    return found[0]


def shown_first(train: Dataset, pictures: Mapping[str, Any]) -> Samples | None:
    """The first reference caption of the first item, with the picture that is judged; None of a stream."""
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
