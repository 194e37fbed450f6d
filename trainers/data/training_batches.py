"""Endless batches for training, in a fixed order, from any position on, with any number of workers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError
from trainers.data.batch import Batch, BatchMaker, check_sizes
from trainers.data.dataset import Dataset
from trainers.data.permutation import Order
from trainers.data.reader import Reader, Tasks, read_all

if TYPE_CHECKING:
    from capreward.encoders.spec import Preprocessing


class Batches:
    """Endless training batches.

    Each epoch is a permutation of the items that depends only on the seed and the epoch. Epochs follow each other
    without a gap, so that every batch is full and every item occurs once in an epoch. The ``world * batch_size`` items
    of a step are cut into one slice per rank: the ranks together take the items that one rank with batches of that size
    would take. The next good sample of the set replaces a sample that cannot be read, which is named in
    ``Batch.broken``.

    Remote sets are streamed instead (:class:`trainers.data.streams.Stream`): a resumed run begins another epoch.

    Args:
        dataset: The dataset.
        preprocessing: The preprocessing of the captioner's pixels; None decodes no pixels for it.
        batch_size: The number of samples per rank.
        seed: The seed of the order.
        rank: The rank of this process.
        world: The number of processes.
        workers: The number of worker processes that decode; 0 decodes in this process. The batches are the same.
        also: Further preprocessings whose crops ``Batch.pictures`` brings, so that rewards decode nothing.

    Raises:
        InputError: A size is wrong. When iterating: 100 samples in a row, or all, cannot be read.
        ProgramError: When iterating: a worker was killed.
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
        check_sizes(batch_size, rank, world, workers)
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
        """The number of samples per step over all ranks."""
        return self.batch_size * self.world

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches after the last one taken."""
        from trainers.data.streams import Stream, stream_batches

        if isinstance(self.dataset, Stream):
            maker = BatchMaker(self.dataset, self.preprocessing, self.also)
            sizes = {"batch_size": self.batch_size, "rank": self.rank, "world": self.world, "workers": self.workers}
            batches = stream_batches(self.dataset, maker, seed=self.seed, epoch=self._taken, **sizes)
        else:
            batches = self._batches(self._taken)
        for batch in batches:
            self._taken = batch.epoch + 1 if isinstance(self.dataset, Stream) else self._taken + 1
            yield batch

    def _batches(self, first: int) -> Iterator[Batch]:
        maker = BatchMaker(self.dataset, self.preprocessing, self.also)
        n = len(self.dataset)
        tasks = Tasks(Reader(self.dataset, maker.crops, replace=True), _Slices(n, self))
        for number, chunk in enumerate(read_all(tasks, itertools.count(first), self.workers), first):
            epoch, position = divmod(number * self.global_batch + self.rank * self.batch_size, n)
            yield maker.batch(chunk, epoch, position)

    def state_dict(self) -> dict[str, Any]:
        """Return the position after the last batch taken, however far workers have read ahead.

        ``batches`` counts the batches taken; for a stream it is the epoch that a resumed run begins.
        """
        return {
            "batches": self._taken,
            "seed": self.seed,
            "global_batch": self.global_batch,
            "dataset": self.dataset.fingerprint(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a stored position, at the next ``iter``.

        Raises:
            InputError: The state is of other data, another seed or another number of samples per step.
        """
        own = self.state_dict()
        sentences = {
            "dataset": f"the data are not those of the checkpoint: {self.dataset.source} has other items or captions",
            "seed": f"the checkpoint has the seed {state.get('seed')}, this run {self.seed}; give --seed "
            f"{state.get('seed')}",
            "global_batch": f"the checkpoint takes {state.get('global_batch')} pictures per step over all processes, "
            f"this run {self.global_batch}; make batch size times processes the same",
        }
        for name, sentence in sentences.items():
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
