"""The loader that decodes pictures in worker processes and yields batches of crops, in order."""

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

FEW = 32  # fewer pictures than this are decoded in the time that workers need to start
MOST_WORKERS = 8
LARGEST_CHUNK = 16  # pictures that a worker decodes at a time: 2.4 MB of crops at 224 pixels
LOOK_ON = 1000  # further pictures that are checked after a broken one, to name more than the first

# The crops of the good pictures, and the error messages of the broken ones by their place in the chunk.
Chunk = tuple[npt.NDArray[np.uint8], dict[int, str]]


class Loader:
    """Yields batches of crops in the order of the pictures, the same to the bit with any number of workers.

    Each worker is at most a few chunks of 16 pictures ahead. Crops travel as bytes through pipes, not through shared
    memory, which is often too small in containers.

    Args:
        pictures: The pictures to decode.
        preprocessing: The preprocessing of the crops.
        batch_size: The number of pictures in a batch; only the last batch may have fewer.
        workers: The number of worker processes. 0 decodes in this process. None chooses 0 for fewer than 32 pictures or
            on one core, and otherwise one per core, at most 8.
        skip_broken: If True, pictures that cannot be decoded are left out; otherwise they are an error.
        start_method: How workers start: ``fork``, ``spawn`` or ``forkserver``; None takes the platform's own method.

    Attributes:
        broken: The index and the error message of each broken picture, filled while iterating.
        workers: The number of worker processes; 0 if every picture comes with its crop.

    Raises:
        InputError: If the batch size is below 1 or the number of workers is negative. While iterating without
            ``skip_broken``, it is raised if a picture is broken: up to 1,000 more pictures are then checked, but not
            yielded, and the message counts and names the broken ones.
        ProgramError: While iterating, if a worker was killed.
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
        # Crops that exist already would only be sent to the workers and back.
        ready = all(isinstance(p, DecodedPicture) and p.crop(preprocessing) is not None for p in pictures)
        self.workers = 0 if ready else _default_workers(len(pictures)) if workers is None else workers
        self.skip_broken = skip_broken
        self.start_method = start_method
        self.broken: list[tuple[int, str]] = []

    def __iter__(self) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Yield the indices of each batch's pictures, and their crops, uint8 [n, S, S, 3]."""
        import torch

        self.broken = []
        size = self.preprocessing.size
        indices: list[int] = []
        batch = np.empty((min(self.batch_size, len(self.pictures)), size, size, 3), dtype=np.uint8)
        for index, crop in self._good_crops():
            batch[len(indices)] = crop
            indices.append(index)
            if len(indices) == self.batch_size:
                yield indices, torch.from_numpy(batch)
                indices, batch = [], np.empty_like(batch)
        if indices:
            yield indices, torch.from_numpy(batch[: len(indices)])

    def _good_crops(self) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
        """Yield the index and the crop of each good picture, and note the broken ones or raise an error about them."""
        for start, end, (crops, broken) in self._chunks():
            self.broken += [(start + place, sentence) for place, sentence in broken.items()]
            if not self.broken or self.skip_broken:
                yield from zip((i for i in range(start, end) if i - start not in broken), crops, strict=True)
            elif end == len(self.pictures) or end > self.broken[0][0] + LOOK_ON:
                raise InputError(self._broken_pictures_text(end))

    def _chunks(self) -> Iterator[tuple[int, int, Chunk]]:
        """Yield the start, the end and the content of consecutive chunks."""
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
            collate_fn=_as_bytes,
            num_workers=min(self.workers, max(len(tasks), 1)),
            multiprocessing_context=self.start_method,
            generator=torch.Generator(),  # a new one, so that the default one, which the user may have seeded, stays
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

    def _broken_pictures_text(self, looked_at: int) -> str:
        count, total = len(self.broken), len(self.pictures)
        some = f"{count:,} of {total:,} pictures" if total > 1 else "the picture"
        if looked_at < total:
            some = f"at least {some} ({looked_at:,} were looked at)"
        named = shorten([sentence for _, sentence in self.broken])
        are, them = ("is", "it") if count == 1 else ("are", "them")
        return f"{some} {are} broken: {named}; mend {them}, or leave {them} out with --skip-broken"


class _Tasks:
    """The chunks of pictures that workers decode."""

    def __init__(self, pictures: Sequence[Picture], preprocessing: Preprocessing, length: int) -> None:
        self.pictures = pictures
        self.preprocessing = preprocessing
        self.length = length

    @property
    def shape(self) -> tuple[int, int, int]:
        """The shape of one crop."""
        return self.preprocessing.size, self.preprocessing.size, 3

    def __len__(self) -> int:
        return -(-len(self.pictures) // self.length)

    def __getitem__(self, number: int) -> Chunk:
        """Decode a chunk; errors are returned as texts, since an exception from a worker would carry its traceback."""
        pictures = self.pictures[number * self.length : (number + 1) * self.length]
        crops = np.empty((len(pictures), *self.shape), dtype=np.uint8)
        broken: dict[int, str] = {}
        for place, picture in enumerate(pictures):
            try:
                crops[place - len(broken)] = prepare(picture, self.preprocessing)
            except InputError as error:
                broken[place] = str(error)
        return crops[: len(pictures) - len(broken)], broken


def _as_bytes(chunk: Any) -> Any:
    """Return a chunk as a worker sends it: pickling bytes takes a tenth of the time of pickling an array."""
    crops, broken = chunk
    return crops.tobytes(), broken


def _default_workers(pictures: int) -> int:
    """Return the number of workers for a number of pictures, if the user gives none."""
    if multiprocessing.current_process().daemon:
        return 0  # a daemonic process may not have children
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if pictures < FEW or cores == 1 else min(cores, MOST_WORKERS)
