"""Batches to evaluate on: one pass in order."""

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
    """One pass in order, for evaluation: the last batch may be smaller, broken samples are left out and named.

    Args:
        dataset: what to go through.
        preprocessing: of the captioner's pixels; None decodes nothing for it.
        batch_size: samples per batch of a rank.
        rank: this process; of every ``world * batch_size`` consecutive items it has the slice of its number.
        world: the number of processes.
        workers: processes that decode.
        limit: the first so many items; all by default.
        also: further preprocessings, as of :class:`Batches`.

    Raises:
        InputError: a size that cannot be; when iterating: no sample of this rank's share can be read.
        ProgramError: when iterating: a worker was killed.
    """
    check_sizes(batch_size, rank, world, workers)
    if limit is not None and limit < 1:
        raise InputError(f"the limit must be 1 or more; found {limit}")
    from trainers.data.streams import Stream, stream_ordered

    maker = BatchMaker(dataset, preprocessing, also)
    if isinstance(dataset, Stream):
        return _whole(stream_ordered(dataset, maker, batch_size, rank, world, workers, limit), dataset)
    return _whole(_ordered(maker, batch_size, rank, world, workers, limit), dataset)


def _ordered(
    maker: BatchMaker, batch_size: int, rank: int, world: int, workers: int, limit: int | None
) -> Iterator[Batch]:
    total = min(len(maker.dataset), limit or len(maker.dataset))
    starts = range(rank * batch_size, total, world * batch_size)
    tasks = Tasks(Reader(maker.dataset, maker.crops, replace=False), _Runs(batch_size, total))
    for start, chunk in zip(starts, read_all(tasks, starts, workers), strict=True):
        yield maker.batch(chunk, 0, start)


class _Runs:
    """Consecutive items from a start on."""

    def __init__(self, size: int, total: int) -> None:
        self.size = size
        self.total = total

    def __call__(self, start: int) -> range:
        return range(start, min(start + self.size, self.total))


def _whole(batches: Iterator[Batch], dataset: Dataset) -> Iterator[Batch]:
    """The batches that have samples; what is broken in others is told by a neighbour."""
    held: Batch | None = None
    lost: list[str] = []
    for batch in batches:
        if not len(batch):
            (lost if held is None else held.broken).extend(batch.broken)
            continue
        if held is not None:
            yield held
        batch.broken[:0] = lost
        held, lost = batch, []
    if held is not None:
        yield held
    elif lost:
        raise InputError(f"no sample of {dataset.source} can be read; the first: {lost[0]}")
