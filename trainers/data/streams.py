"""Remote shards that ``webdataset`` reads from beginning to end.

They are shuffled again in each epoch. A run on them cannot be resumed exactly.
"""

from __future__ import annotations

import itertools
import random
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from capreward.data.images.folder import ENDINGS
from capreward.data.images.pictures import BytesPicture
from capreward.data.rows import Options
from capreward.errors import InputError
from trainers.data.batch import Batch, BatchMaker
from trainers.data.dataset import Dataset, Item
from trainers.data.permutation import permutation
from trainers.data.reader import IN_A_ROW, Chunk, Crops, from_workers, stacked
from trainers.data.shards import captions_of

BUFFER = 1000  # samples among which each one is drawn by lot


class Stream(Dataset):
    """A dataset of remote shards.

    Its items have no number and no known count: ``Batches`` and ``ordered`` take them as they come.

    Args:
        source: The source as the user named it.
        urls: The addresses of the shards.
        caption_column: The caption column of JSON objects, if it has no usual name.
    """

    def __init__(self, source: str, urls: Sequence[str], caption_column: str | Sequence[str] | None = None) -> None:
        note = f"{source} is streamed: a resumed run begins another epoch of it"
        super().__init__(source, [], (), (), (note,), identity=f"stream {list(urls)}")
        self.urls = list(urls)
        self.options = Options(references=True, caption_column=caption_column)

    def __len__(self) -> int:
        raise InputError(f"{self.source} is streamed and its number of items is not known; say how long in steps")

    def first(self) -> None:
        """Return None, because the items come as they are read."""
        return

    def __repr__(self) -> str:
        return f"Stream({self.source!r}, {len(self.urls):,} shards)"


def stream_batches(
    stream: Stream, maker: BatchMaker, *, batch_size: int, seed: int, rank: int, world: int, workers: int, epoch: int
) -> Iterator[Batch]:
    """Yield endless batches of this rank's share of the shards.

    In every epoch the shards are permuted by seed and epoch. They are dealt to the ranks, and those of a rank to its
    workers. Samples are drawn from a buffer of 1,000. Broken samples are left out and named in the next batch.

    Args:
        stream: The dataset.
        maker: The maker of batches.
        batch_size: The number of samples per rank.
        seed: The seed of the order.
        rank: The rank of this process.
        world: The number of processes.
        workers: The number of worker processes that decode, at most one per shard.
        epoch: The first epoch.

    Raises:
        InputError: There are fewer shards than ranks. When iterating: an address cannot be read, or an epoch has no
            sample.
    """
    if len(stream.urls) < world:
        raise InputError(f"{stream.source} is {len(stream.urls)} shards for {world} processes; each needs one at least")
    tasks = _Tasks(_Share(stream, seed, rank, world, epoch), maker.crops, batch_size)
    yield from _batches(tasks, maker, min(workers, len(stream.urls) // world))


def stream_ordered(
    stream: Stream, maker: BatchMaker, batch_size: int, rank: int, world: int, workers: int, limit: int | None
) -> Iterator[Batch]:
    """Yield the batches of one pass in order; every rank reads all shards and takes its slices."""
    tasks = _Tasks(_Pass(stream, batch_size, rank, world, limit), maker.crops, batch_size)
    yield from _batches(tasks, maker, min(workers, 1))


def _batches(tasks: _Tasks, maker: BatchMaker, workers: int) -> Iterator[Batch]:
    for chunk in from_workers(_iterable(tasks), None, workers) if workers else tasks:
        if chunk.failure:
            raise InputError(chunk.failure)
        yield maker.batch(chunk, chunk.epoch, chunk.position)


class _Share:
    """The endless samples of one worker of one rank, as (epoch, place in it, item or sentence)."""

    endless = True

    def __init__(self, stream: Stream, seed: int, rank: int, world: int, epoch: int) -> None:
        self.stream = stream
        self.seed = seed
        self.rank = rank
        self.world = world
        self.epoch = epoch

    def samples(self, worker: int, workers: int) -> Iterator[tuple[int, int, Item | str]]:
        for epoch in itertools.count(self.epoch):
            order = permutation(len(self.stream.urls), self.seed, epoch).tolist()
            mine = order[self.rank :: self.world][worker::workers]
            generator = random.Random(f"{self.seed} {epoch} {self.rank} {worker}")
            items = _shuffled(_items(self.stream, [self.stream.urls[n] for n in mine]), generator)
            place = -1
            for place, item in enumerate(items):
                yield epoch, place, item
            if place < 0:
                raise InputError(f"{self.stream.source} has no sample of a picture with captions")


class _Pass:
    """The samples of one rank in one pass, in order."""

    endless = False

    def __init__(self, stream: Stream, size: int, rank: int, world: int, limit: int | None) -> None:
        self.stream = stream
        self.size = size
        self.rank = rank
        self.world = world
        self.limit = limit

    def samples(self, worker: int, workers: int) -> Iterator[tuple[int, int, Item | str]]:
        items = itertools.islice(_items(self.stream, self.stream.urls), self.limit)
        for place, item in enumerate(items):
            if place // self.size % self.world == self.rank:
                yield 0, place, item


class _Tasks:
    """Chunks of samples, as an iterable that a worker can take."""

    def __init__(self, share: _Share | _Pass, crops: Crops, size: int) -> None:
        self.share = share
        self.crops = crops
        self.size = size

    def __iter__(self) -> Iterator[Chunk]:
        from torch.utils.data import get_worker_info

        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        chunk, rows, in_a_row = Chunk([], [], []), [], 0
        try:
            for epoch, place, item in self.share.samples(worker, workers):
                if not chunk.keys:
                    chunk.epoch, chunk.position = epoch, place
                try:
                    if isinstance(item, str):
                        raise InputError(item)
                    rows.append(self.crops.of(item.picture))
                except InputError as error:
                    chunk.broken.append(str(error))
                    in_a_row += 1
                    if self.share.endless and in_a_row == IN_A_ROW:
                        source = self.share.stream.source
                        raise InputError(
                            f"{IN_A_ROW} samples of {source} in a row cannot be read; the last: {error}"
                        ) from error
                    continue
                in_a_row = 0
                chunk.keys.append(item.key)
                chunk.pictures.append(item.picture)
                chunk.captions.append(item.captions)
                if len(rows) == self.size:
                    chunk.blocks = stacked(rows)
                    yield chunk
                    chunk, rows = Chunk([], [], []), []
        except InputError as error:
            chunk.failure = str(error)
        if chunk.failure or rows or chunk.broken:
            chunk.blocks = stacked(rows)
            yield chunk


def _iterable(tasks: _Tasks) -> Any:
    """Return the tasks as torch's kind of iterable, which this module imports only when it is needed."""
    from torch.utils.data import IterableDataset

    class Iterable(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter(tasks)

        def __reduce__(self) -> Any:
            return _iterable, (tasks,)  # a class within a function has no name that a pickle could give

    return Iterable()


def _items(stream: Stream, urls: Iterable[str]) -> Iterator[Item | str]:
    """Yield the items of some shards, and a sentence for each sample that is no item."""
    for url in urls:
        for sample in _samples(url):
            key = str(sample["__key__"]).rpartition("/")[2]
            where = f"the sample {key} in {url}"
            data = next((sample[ending] for ending in sample if ending in ENDINGS), None)
            parts: dict[str, bytes] = {kind: sample[kind] for kind in ("json", "txt") if kind in sample}
            if data is None or not parts:
                yield f"{where} has {'no picture' if data is None else 'no .txt or .json'}"
                continue
            try:
                captions = tuple(c for c in captions_of(parts, key, where, stream.options) if c.strip())
            except InputError as error:
                yield str(error)
                continue
            yield Item(key, BytesPicture(data, where), captions) if captions else f"{where} has no caption"


def _samples(url: str) -> Iterator[dict[str, Any]]:
    from webdataset.tariterators import tarfile_samples

    place = f"pipe:aws s3 cp {shlex.quote(url)} -" if url.startswith("s3://") else url
    try:
        yield from tarfile_samples(iter([{"url": place}]))
    except Exception as error:  # curl, tar, the shell: what they raise is as manifold as what can go wrong
        raise InputError(f"{url} cannot be streamed: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Return the reason of an error without the objects that webdataset adds to its arguments."""
    first = str(error.args[0]) if error.args else type(error).__name__
    status = re.search(r"exit (\d+) \(read\)", first)
    return f"the command that reads it ended with status {status[1]}" if status else first.partition(" @ ")[0]


def _shuffled(items: Iterator[Item | str], generator: random.Random) -> Iterator[Item | str]:
    """Yield items in a random order: each is drawn from the next thousand."""
    buffer = list(itertools.islice(items, BUFFER))
    for item in items:
        place = int(generator.random() * len(buffer))
        drawn, buffer[place] = buffer[place], item
        yield drawn
    while buffer:
        place = int(generator.random() * len(buffer))
        buffer[place], buffer[-1] = buffer[-1], buffer[place]
        yield buffer.pop()
