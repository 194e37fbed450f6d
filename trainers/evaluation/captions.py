"""Captions of held-out items, and how good they are by any metrics."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.atomic_files import write_text_beside
from capreward.errors import InputError
from capreward.samples import Samples

if TYPE_CHECKING:
    from capreward.evaluators.base import Evaluator
    from capreward.scores import Scores
    from trainers.captioners.base import Captioner
    from trainers.data import Dataset
    from trainers.decoding import Decoding


@dataclass
class CaptionedItems:
    """Captions of the items of a dataset, in its order.

    Attributes:
        keys: of the N items that could be read.
        captions: [N].
        references: [N] lists.
        pictures: [N], for metrics.
        broken: a sentence for each item that could not be read.
        finished: share of captions with an end token.
        places: of the items in the dataset, for their order alone: behind an item that could not be read, those of its
            batch are counted on without it.
    """

    keys: list[str]
    captions: list[str]
    references: list[list[str]]
    pictures: list[Any]
    broken: list[str]
    finished: float
    places: list[int] = field(default_factory=list)

    def samples(self) -> Samples:
        """For evaluators."""
        return Samples(self.captions, references=self.references, images=self.pictures, key=self.keys)


def caption_items(
    captioner: Captioner,
    dataset: Dataset,
    settings: Decoding,
    *,
    batch_size: int,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    progress: Callable[[int], None] | None = None,
) -> CaptionedItems:
    """Decode the share of a process of a dataset, in evaluation mode: of every ``world`` batches its own.

    Args:
        captioner: on its device.
        dataset: what to caption.
        settings: of the decoding.
        batch_size: images at a time.
        rank: of this process.
        world: number of processes.
        workers: processes that decode pictures.
        progress: called with the number of items done, after each batch.
    """
    from trainers.evaluation.decoded_batches import each_decoded

    found = CaptionedItems([], [], [], [], [], 1.0)
    finished = 0
    batches = each_decoded(captioner, dataset, settings, batch_size=batch_size, rank=rank, world=world, workers=workers)
    for batch, decoded in batches:
        found.broken += batch.broken
        found.keys += batch.keys
        found.places += range(batch.position, batch.position + len(batch))
        found.captions += captioner.decode_text(decoded.tokens[:, 0])
        found.references += [list(captions) for captions in batch.captions]
        found.pictures += batch.pictures
        finished += int(decoded.finished[:, 0].sum())
        if progress is not None:
            progress(len(found.keys))
    found.finished = finished / max(1, len(found.keys))
    return found


def judge(found: CaptionedItems, metrics: Sequence[Evaluator]) -> Scores:
    """The scores of captions by metrics.

    Raises:
        InputError: a metric that needs what the items do not have.
    """
    from capreward.scoring import evaluate

    if not found.keys:
        raise InputError("none of the held-out items could be read")
    return evaluate(metrics, found.samples())


def write_samples(path: Path, found: CaptionedItems, count: int) -> None:
    """Keep the first ``count`` captions with their references, one JSON object per line."""
    rows = zip(found.keys[:count], found.captions, found.references, strict=False)
    lines = [json.dumps({"key": k, "caption": c, "references": r}, ensure_ascii=False) for k, c, r in rows]
    write_text_beside(path, "".join(line + "\n" for line in lines))
