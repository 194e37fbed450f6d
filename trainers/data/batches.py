"""Batches to train and evaluate on: in a fixed order, from any position on, with any number of workers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capreward.data.images.decoded import DecodedPicture
from capreward.errors import InputError
from trainers.data.dataset import Dataset
from trainers.data.order import Order
from trainers.data.reading import Chunk, Crops, Reader, Tasks, read_all

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.spec import Preprocessing


@dataclass
class Batch:
    """B samples.

    Attributes:
        keys: of the samples.
        pictures: what ``Samples.images`` takes: pictures, with the crops that rewards asked for, or stored features.
        captions: of each sample, one or more.
        pixels: uint8 [B, S, S, 3], crops for the captioner, not normalised; None for stored features.
        features: float32 [B, *shape], where the pictures are stored features; else None.
        broken: one sentence per sample that could not be read, and which another one replaces.
        epoch: of the first sample, counted from 0.
        position: of the first sample in the epoch, counted from 0.
    """

    keys: list[str]
    pictures: list[Any]
    captions: list[tuple[str, ...]]
    pixels: Tensor | None
    features: Tensor | None
    broken: list[str]
    epoch: int
    position: int

    def __len__(self) -> int:
        return len(self.keys)


class Batches:
    """Endless training batches.

    Each epoch is a permutation of the items that follows from the seed and the epoch alone. Epochs follow each other
    without a gap, so that every batch is full and every item is seen once an epoch. The ``world * batch_size`` items of
    a step are cut into one slice per rank: the ranks together see what one rank with batches of that size sees. A
    sample that cannot be read is replaced by the next good one of the set and named in ``Batch.broken``.

    Remote sets are streamed instead (:class:`trainers.data.streaming.Stream`): resuming begins another epoch.

    Args:
        dataset: what to draw from.
        preprocessing: of the captioner's pixels; None decodes nothing for it.
        batch_size: samples per rank.
        seed: of the order.
        rank: this process.
        world: the number of processes.
        workers: processes that decode; 0 decodes in this one. The batches are the same.
        also: further preprocessings whose crops ``Batch.pictures`` shall bring, so that rewards decode nothing.

    Raises:
        InputError: a size that cannot be. When iterating: 100 samples in a row, or all, cannot be read.
        ProgramError: when iterating: a worker was killed.
    """

    def __init__(
        self,
        dataset: Dataset,
        preprocessing: Preprocessing | None,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        also: Sequence[Preprocessing] = (),
    ) -> None:
        _check(batch_size, rank, world, workers)
        if seed < 0:
            raise InputError(f"the seed must be 0 or more; found {seed}")
        self.dataset = dataset
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world = world
        self.workers = workers
        self.also = tuple(also)
        self._taken = 0

    @property
    def global_batch(self) -> int:
        """Samples per step over all ranks."""
        return self.batch_size * self.world

    def __iter__(self) -> Iterator[Batch]:
        """Go on after the last batch taken."""
        from trainers.data.streaming import Stream, stream_batches

        if isinstance(self.dataset, Stream):
            batches = stream_batches(self, self.dataset, self._taken)
        else:
            batches = self._batches(self._taken)
        for batch in batches:
            self._taken = batch.epoch + 1 if isinstance(self.dataset, Stream) else self._taken + 1
            yield batch

    def _batches(self, first: int) -> Iterator[Batch]:
        maker = Maker(self.dataset, self.preprocessing, self.also)
        n = len(self.dataset)
        tasks = Tasks(Reader(self.dataset, maker.crops, replace=True), _Slices(n, self))
        for number, chunk in enumerate(read_all(tasks, itertools.count(first), self.workers), first):
            epoch, position = divmod(number * self.global_batch + self.rank * self.batch_size, n)
            yield maker.batch(chunk, epoch, position)

    def state_dict(self) -> dict[str, Any]:
        """Where the batches are: after the last one taken, whatever workers have read ahead."""
        return {
            "batches": self._taken,
            "seed": self.seed,
            "global_batch": self.global_batch,
            "dataset": self.dataset.fingerprint(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there, at the next ``iter``.

        Raises:
            InputError: the state is of other data, another seed or another size of a step.
        """
        own = self.state_dict()
        told = {
            "dataset": f"the data are not those of the checkpoint: {self.dataset.source} has other items or captions",
            "seed": f"the checkpoint has the seed {state.get('seed')}, this run {self.seed}; give --seed "
            f"{state.get('seed')}",
            "global_batch": f"the checkpoint takes {state.get('global_batch')} pictures per step over all processes, "
            f"this run {self.global_batch}; make batch size times processes the same",
        }
        for name, sentence in told.items():
            if state.get(name) != own[name]:
                raise InputError(sentence)
        self._taken = int(state["batches"])


class _Slices:
    """The items of this rank in each step."""

    def __init__(self, n: int, batches: Batches) -> None:
        self.order = Order(n, batches.seed)
        self.step = batches.global_batch
        self.start = batches.rank * batches.batch_size
        self.size = batches.batch_size

    def __call__(self, number: int) -> list[int]:
        return self.order.take(number * self.step + self.start, self.size)


class Maker:
    """Makes batches of what was read.

    Args:
        dataset: what was read.
        preprocessing: of the captioner's pixels, if it wants any.
        also: of the rewards.
    """

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing | None, also: Sequence[Preprocessing]) -> None:
        self.dataset = dataset
        self.preprocessing = preprocessing
        self.also = tuple(also)
        self.crops = Crops([*([] if preprocessing is None else [preprocessing]), *also])

    def batch(self, chunk: Chunk, epoch: int, position: int) -> Batch:
        """The batch of a chunk."""
        import torch

        keys = chunk.keys or [self.dataset.keys[i] for i in chunk.indices]
        pictures = chunk.pictures or [self.dataset.picture(i) for i in chunk.indices]
        if len(chunk.blocks) == 1 and chunk.blocks[0].dtype == "float32":
            features = torch.from_numpy(chunk.blocks[0])
            return Batch(keys, pictures, chunk.captions, None, features, chunk.broken, epoch, position)
        if self.also and chunk.blocks:
            made = {p: chunk.blocks[self.crops.place(p)] for p in self.also}
            pictures = [DecodedPicture(p, {q: made[q][n] for q in made}) for n, p in enumerate(pictures)]
        pixels = None
        if self.preprocessing is not None and chunk.blocks:
            pixels = torch.from_numpy(chunk.blocks[self.crops.place(self.preprocessing)])
        return Batch(keys, pictures, chunk.captions, pixels, None, chunk.broken, epoch, position)


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
    _check(batch_size, rank, world, workers)
    if limit is not None and limit < 1:
        raise InputError(f"the limit must be 1 or more; found {limit}")
    from trainers.data.streaming import Stream, stream_ordered

    maker = Maker(dataset, preprocessing, also)
    if isinstance(dataset, Stream):
        return _whole(stream_ordered(dataset, maker, batch_size, rank, world, workers, limit), dataset)
    return _whole(_ordered(maker, batch_size, rank, world, workers, limit), dataset)


def _ordered(maker: Maker, batch_size: int, rank: int, world: int, workers: int, limit: int | None) -> Iterator[Batch]:
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


def _check(batch_size: int, rank: int, world: int, workers: int) -> None:
    if batch_size < 1 or workers < 0 or not 0 <= rank < world:
        raise InputError(
            f"batches need batch_size >= 1, workers >= 0 and 0 <= rank < world; found batch_size {batch_size}, "
            f"workers {workers}, rank {rank} of {world}"
        )
