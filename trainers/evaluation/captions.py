"""Captions of held-out items, and their scores by any metrics."""

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
    """The captions of a dataset's items, in its order.

    Attributes:
        keys: The keys of the N items that could be read.
        captions: The captions [N].
        references: The lists of references [N].
        pictures: The pictures for metrics [N].
        broken: A sentence for each item that could not be read.
        finished: The share of captions with an end token.
        places: The places of the items in the dataset, which only give their order: within a batch, the items after one
            that could not be read are counted as if it did not exist.
    """

    keys: list[str]
    captions: list[str]
    references: list[list[str]]
    pictures: list[Any]
    broken: list[str]
    finished: float
    places: list[int] = field(default_factory=list)

    def samples(self) -> Samples:
        """Return the captions as samples for evaluators."""
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
    """Caption the share of one process of a dataset, in evaluation mode: of every ``world`` batches one.

    Args:
        captioner: The captioner, on its device.
        dataset: The dataset to caption.
        settings: The settings of the decoding.
        batch_size: The number of images at a time.
        rank: The rank of this process.
        world: The number of processes.
        workers: The number of worker processes that decode pictures.
        progress: A function that is called with the number of items done, after each batch.
    """
    from trainers.evaluation.decoded_batches import each_decoded

    items = CaptionedItems([], [], [], [], [], 1.0)
    finished = 0
    batches = each_decoded(captioner, dataset, settings, batch_size=batch_size, rank=rank, world=world, workers=workers)
    for batch, decoded in batches:
        items.broken += batch.broken
        items.keys += batch.keys
        items.places += range(batch.position, batch.position + len(batch))
        items.captions += captioner.decode_text(decoded.tokens[:, 0])
        items.references += [list(captions) for captions in batch.captions]
        items.pictures += batch.pictures
        finished += int(decoded.finished[:, 0].sum())
        if progress is not None:
            progress(len(items.keys))
    items.finished = finished / max(1, len(items.keys))
    return items


def score_captions(items: CaptionedItems, metrics: Sequence[Evaluator]) -> Scores:
    """Score captions by metrics.

    Raises:
        InputError: A metric needs something that the items do not have.
    """
    from capreward.scoring import evaluate

    if not items.keys:
        raise InputError("none of the held-out items could be read")
    return evaluate(metrics, items.samples())


def write_samples(path: Path, items: CaptionedItems, count: int) -> None:
    """Write the first ``count`` captions with their references, one JSON object per line."""
    rows = zip(items.keys[:count], items.captions, items.references, strict=False)
    lines = [json.dumps({"key": k, "caption": c, "references": r}, ensure_ascii=False) for k, c, r in rows]
    write_text_beside(path, "".join(line + "\n" for line in lines))
