"""Pictures to batches of crops, in order, decoded in worker processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capreward.data.images.cropped_picture import DecodedPicture
from capreward.data.images.pictures import Picture
from capreward.data.images.preprocessing import prepare
from capreward.errors import InputError, ProgramError, shorten

if TYPE_CHECKING:
    import torch

    from capreward.encoders.spec import Preprocessing

FEW = 32  # pictures that are decoded before workers would have started
MOST_WORKERS = 8
LARGEST_CHUNK = 16  # pictures that a worker decodes at a time: 2.4 MB of crops at 224 pixels
LOOK_ON = 1000  # further pictures that are looked at after a broken one, to name more than the first

Chunk = tuple[npt.NDArray[np.uint8], dict[int, str]]  # crops of the good ones; sentences of the others, by place


class Loader:
    """Batches of crops in the order of the pictures, the same to the bit with any number of workers.

    Each worker is a few chunks of 16 pictures ahead and no more. Crops travel as bytes through pipes, not through
    shared memory, which containers often keep too small.

    Args:
        pictures: what to decode.
        preprocessing: how.
        batch_size: pictures in a batch; only the last has fewer.
        workers: processes; 0 decodes in this one; None chooses: none for fewer than 32 pictures or on one core, else
            one per core, at most 8.
        skip_broken: leave out pictures that cannot be decoded.
        start_method: ``fork``, ``spawn`` or ``forkserver``; the platform's own by default.

    Attributes:
        broken: index and sentence of each broken picture, filled while iterating.
        workers: the number of processes; 0 where every picture comes with its crop.

    Raises:
        InputError: a batch size below 1 or a negative number of workers. When iterating, without ``skip_broken``: one
            sentence that counts and names the broken pictures, once a first one was met and up to 1,000 more pictures
            were looked at (not yielded).
        ProgramError: when iterating: a worker was killed.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        workers: int | None = None,
        skip_broken: bool = False,
        start_method: str | None = None,
    ) -> None:
        if batch_size < 1 or (workers is not None and workers < 0):
            raise InputError(f"a loader needs batch_size >= 1 and workers >= 0; found {batch_size} and {workers}")
        self.pictures = pictures
        self.preprocessing = preprocessing
        self.batch_size = batch_size
        # Crops that are at hand would only be sent there and back.
        ready = all(isinstance(p, DecodedPicture) and p.crop(preprocessing) is not None for p in pictures)
        self.workers = 0 if ready else _enough(len(pictures)) if workers is None else workers
        self.skip_broken = skip_broken
        self.start_method = start_method
        self.broken: list[tuple[int, str]] = []

    def __iter__(self) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Yield the indices of a batch's pictures and their crops, uint8 [n, S, S, 3]."""
        import torch

        self.broken = []
        size = self.preprocessing.size
        indices: list[int] = []
        batch = np.empty((min(self.batch_size, len(self.pictures)), size, size, 3), dtype=np.uint8)
        for index, crop in self._good():
            batch[len(indices)] = crop
            indices.append(index)
            if len(indices) == self.batch_size:
                yield indices, torch.from_numpy(batch)
                indices, batch = [], np.empty_like(batch)
        if indices:
            yield indices, torch.from_numpy(batch[: len(indices)])

    def _good(self) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        """Yield index and crop of each picture, and note the broken ones or end with them."""
        for start, end, (crops, broken) in self._chunks():
            self.broken += [(start + place, sentence) for place, sentence in broken.items()]
            if not self.broken or self.skip_broken:
                yield from zip((i for i in range(start, end) if i - start not in broken), crops, strict=True)
            elif end == len(self.pictures) or end > self.broken[0][0] + LOOK_ON:
                raise InputError(self._refusal(end))

    def _chunks(self) -> Iterator[tuple[int, int, Chunk]]:
        """Yield start, end and content of consecutive chunks."""
        total = len(self.pictures)
        length = min(max(-(-total // (4 * max(self.workers, 1))), 1), LARGEST_CHUNK)
        tasks = _Tasks(self.pictures, self.preprocessing, length)
        results = self._from_workers(tasks) if self.workers else (tasks[n] for n in range(len(tasks)))
        for number, chunk in enumerate(results):
            yield number * length, min((number + 1) * length, total), chunk

    def _from_workers(self, tasks: _Tasks) -> Iterator[Chunk]:
        import torch
        from torch.utils.data import DataLoader

        loader: Any = DataLoader(
            tasks,  # type: ignore[arg-type]  # any object with __len__ and __getitem__ will do
            batch_size=None,
            collate_fn=_packed,
            num_workers=min(self.workers, max(len(tasks), 1)),
            multiprocessing_context=self.start_method,
            generator=torch.Generator(),  # of its own: the default one belongs to whoever seeded it
        )
        try:
            for data, broken in loader:
                yield np.frombuffer(data, dtype=np.uint8).reshape(-1, *tasks.shape), broken
        except RuntimeError as error:
            if "worker" not in str(error):
                raise
            raise ProgramError(
                "a process that decodes pictures ended before its work, as when memory runs out; try --workers 1"
            ) from error

    def _refusal(self, looked_at: int) -> str:
        count, total = len(self.broken), len(self.pictures)
        some = f"{count:,} of {total:,} pictures" if total > 1 else "the picture"
        if looked_at < total:
            some = f"at least {some} ({looked_at:,} were looked at)"
        named = shorten([sentence for _, sentence in self.broken])
        are, them = ("is", "it") if count == 1 else ("are", "them")
        return f"{some} {are} broken: {named}; mend {them}, or leave {them} out with --skip-broken"


class _Tasks:
    """The pictures in chunks: what a worker is given."""

    def __init__(self, pictures: Sequence[Picture], preprocessing: Preprocessing, length: int) -> None:
        self.pictures = pictures
        self.preprocessing = preprocessing
        self.length = length

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one crop."""
        return self.preprocessing.size, self.preprocessing.size, 3

    def __len__(self) -> int:
        return -(-len(self.pictures) // self.length)

    def __getitem__(self, number: int) -> Chunk:
        """Errors travel as sentences: an exception from a worker would arrive wrapped in its traceback."""
        pictures = self.pictures[number * self.length : (number + 1) * self.length]
        crops = np.empty((len(pictures), *self.shape), dtype=np.uint8)
        broken: dict[int, str] = {}
        for place, picture in enumerate(pictures):
            try:
                crops[place - len(broken)] = prepare(picture, self.preprocessing)
            except InputError as error:
                broken[place] = str(error)
        return crops[: len(pictures) - len(broken)], broken


def _packed(chunk: Any) -> Any:
    """What a worker sends of a chunk: bytes are pickled in a tenth of the time that an array takes."""
    crops, broken = chunk
    return crops.tobytes(), broken


def _enough(pictures: int) -> int:
    if multiprocessing.current_process().daemon:
        return 0  # such a process may not have children
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if pictures < FEW or cores == 1 else min(cores, MOST_WORKERS)
