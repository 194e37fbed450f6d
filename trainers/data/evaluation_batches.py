"""Batches for evaluation: one pass over a dataset in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from capreward.errors import InputError
from trainers.data.batch import Batch, BatchMaker, check_sizes
from trainers.data.dataset import Dataset
from trainers.data.reader import Reader, Tasks, read_all

if TYPE_CHECKING:
    from capreward.encoders.spec import Preprocessing


def ordered(
    dataset: Dataset,
    preprocessing: Preprocessing | None,
    *,
    batch_size: int,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    limit: int | None = None,
    also: Sequence[Preprocessing] = (),
) -> Iterator[Batch]:
    """Yield the batches of one pass in order, for evaluation.

    The last batch may be smaller. Broken samples are left out and named.

    Args:
        dataset: The dataset.
        preprocessing: The preprocessing of the captioner's pixels; None decodes no pixels for it.
        batch_size: The number of samples in a batch of one rank.
        rank: The rank of this process; it takes the slice of its rank from every ``world * batch_size`` consecutive
            items.
        world: The number of processes.
        workers: The number of worker processes that decode.
        limit: The number of items to take from the beginning; all by default.
        also: Further preprocessings, as for :class:`Batches`.

    Raises:
        InputError: A size is wrong. When iterating: no sample of this rank's share can be read.
        ProgramError: When iterating: a worker was killed.
    """
    check_sizes(batch_size, rank, world, workers)
    if limit is not None and limit < 1:
        raise InputError(f"the limit must be 1 or more; found {limit}")
    from trainers.data.streams import Stream, stream_ordered

    maker = BatchMaker(dataset, preprocessing, also)
    if isinstance(dataset, Stream):
        return _without_empty(stream_ordered(dataset, maker, batch_size, rank, world, workers, limit), dataset)
    return _without_empty(_ordered(maker, batch_size, rank, world, workers, limit), dataset)


def _ordered(
    maker: BatchMaker, batch_size: int, rank: int, world: int, workers: int, limit: int | None
) -> Iterator[Batch]:
    total = min(len(maker.dataset), limit or len(maker.dataset))
    starts = range(rank * batch_size, total, world * batch_size)
    tasks = Tasks(Reader(maker.dataset, maker.crops, replace=False), _ConsecutiveItems(batch_size, total))
    for start, chunk in zip(starts, read_all(tasks, starts, workers), strict=True):
        yield maker.batch(chunk, 0, start)


class _ConsecutiveItems:
    """Consecutive items from a start on."""

    def __init__(self, size: int, total: int) -> None:
        self.size = size
        self.total = total

    def __call__(self, start: int) -> range:
        return range(start, min(start + self.size, self.total))


def _without_empty(batches: Iterator[Batch], dataset: Dataset) -> Iterator[Batch]:
    """Yield the batches that have samples; the broken samples of the others are named in a neighbouring batch."""
    pending: Batch | None = None
    broken: list[str] = []
    for batch in batches:
        if not len(batch):
            (broken if pending is None else pending.broken).extend(batch.broken)
            continue
        if pending is not None:
            yield pending
        batch.broken[:0] = broken
        pending, broken = batch, []
    if pending is not None:
        yield pending
    elif broken:
        raise InputError(f"no sample of {dataset.source} can be read; the first: {broken[0]}")
