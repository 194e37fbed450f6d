"""The reading of a batch's samples, in this process or in worker processes, with the same result."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capreward.data.images.cropped_picture import crop_fields
from capreward.data.images.pictures import Picture
from capreward.data.images.preprocessing import prepare
from capreward.errors import InputError, ProgramError
from trainers.data.dataset import Dataset

if TYPE_CHECKING:
    from PIL import Image

    from capreward.encoders.spec import Preprocessing

IN_A_ROW = 100  # broken samples after which the place itself, not a sample, must be at fault

Pixels = npt.NDArray[Any]


@dataclass
class Chunk:
    """The n samples of a batch, as a worker sends them.

    Attributes:
        indices: The indices of the samples, [n].
        captions: The captions of each sample.
        blocks: For each distinct preprocessing the crops of all samples, uint8 [n, S, S, 3]; or one block of features,
            float32 [n, ...].
        broken: One sentence for each sample that could not be read.
        failure: The reason why the reading cannot go on; empty if it can.
        pictures: The picture of each sample, if an index does not identify it.
        keys: The key of each sample, if an index does not identify it.
        epoch: The epoch of the first sample, if a stream counts its own epochs.
        position: The position of the first sample in the epoch, if a stream counts its own epochs.
    """

    indices: list[int]
    captions: list[tuple[str, ...]]
    blocks: list[Pixels]
    broken: list[str] = field(default_factory=list)
    failure: str = ""
    pictures: list[Any] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    epoch: int = 0
    position: int = 0


class Crops:
    """All wanted crops of a picture, from one decoding of it.

    Args:
        wanted: The preprocessings; those whose crops are equal share one crop.
    """

    def __init__(self, wanted: Sequence[Preprocessing]) -> None:
        self.wanted = list(wanted)
        by_fields = {crop_fields(p): p for p in reversed(self.wanted)}
        self.distinct = list(by_fields.values())[::-1]

    def place(self, preprocessing: Preprocessing) -> int:
        """Return the place of a preprocessing's crop among the distinct crops."""
        return [crop_fields(p) for p in self.distinct].index(crop_fields(preprocessing))

    def of(self, picture: Picture) -> list[npt.NDArray[np.uint8]]:
        """Return the distinct crops of a picture, uint8 [S, S, 3] each.

        Raises:
            BrokenImage: The picture cannot be decoded.
        """
        if len(self.distinct) < 2:
            return [prepare(picture, p) for p in self.distinct]
        opened = _Opened(picture)
        return [prepare(opened, p) for p in self.distinct]


class _Opened:
    """A picture that is decoded once for several crops."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self._image: Image.Image | None = None

    def __str__(self) -> str:
        return str(self.picture)

    @property
    def key(self) -> Any:
        return self.picture.key

    def open(self) -> Image.Image:
        if self._image is None:
            self._image = self.picture.open()
        return self._image


class Reader:
    """A reader of samples by their indices.

    Args:
        dataset: The dataset of the samples.
        crops: The crops of each picture.
        replace: Whether the next good sample of the set replaces a broken one; otherwise the broken one is left out.
    """

    def __init__(self, dataset: Dataset, crops: Crops, *, replace: bool) -> None:
        self.dataset = dataset
        self.crops = crops
        self.replace = replace

    def read(self, indices: Sequence[int]) -> Chunk:
        """Read samples and return errors as sentences, because an exception of a worker would bring its traceback."""
        chunk = Chunk([], [], [])
        rows: list[list[Pixels]] = []
        for index in indices:
            try:
                sample = self._read_or_replace(index, chunk.broken)
            except InputError as error:
                chunk.failure = str(error)
                break
            if sample is None:
                continue
            taken, captions, arrays = sample
            rows.append(arrays)
            chunk.indices.append(taken)
            chunk.captions.append(captions)
        chunk.blocks = stacked(rows)
        return chunk

    def _read_or_replace(self, index: int, broken: list[str]) -> tuple[int, tuple[str, ...], list[Pixels]] | None:
        """Return the sample, or the next good one in its place; None if it is broken and is not replaced."""
        first = ""
        tries = min(len(self.dataset), IN_A_ROW) if self.replace else 1
        for step in range(tries):
            taken = (index + step) % len(self.dataset)
            try:
                item = self.dataset[taken]
                arrays = self._arrays(item.picture)
            except InputError as error:
                first = first or str(error)
                continue
            if step:
                broken.append(first)
            return taken, item.captions, arrays
        if self.replace:
            raise InputError(f"{tries:,} samples of {self.dataset.source} in a row cannot be read; the first: {first}")
        broken.append(first)
        return None

    def _arrays(self, picture: Any) -> list[Pixels]:
        from capreward.encoders.store.feature_store import StoredFeature

        if isinstance(picture, StoredFeature):
            return [picture.feature().numpy()]
        return list(self.crops.of(picture))


def stacked(rows: Sequence[Sequence[Pixels]]) -> list[Pixels]:
    """Stack the arrays of the samples: one array of all samples for each kind of array."""
    return [np.stack(column) for column in zip(*rows, strict=True)]


class Tasks:
    """The numbered tasks of workers; each task is a list of samples.

    Args:
        reader: The reader of the samples.
        indices: A function from a task's number to the indices of its samples.
    """

    def __init__(self, reader: Reader, indices: Callable[[int], Sequence[int]]) -> None:
        self.reader = reader
        self.indices = indices

    def __getitem__(self, number: int) -> Chunk:
        return self.reader.read(self.indices(number))


def read_all(tasks: Tasks, numbers: Iterable[int], workers: int) -> Iterator[Chunk]:
    """Yield the chunks of the numbers, in order.

    Raises:
        InputError: The reading cannot go on.
        ProgramError: A worker was killed.
    """
    chunks = from_workers(tasks, numbers, workers) if workers else (tasks[number] for number in numbers)
    for chunk in chunks:
        if chunk.failure:
            raise InputError(chunk.failure)
        yield chunk


def from_workers(tasks: Any, numbers: Iterable[int] | None, workers: int) -> Iterator[Chunk]:
    """Yield the chunks that worker processes read, in order.

    Raises:
        ProgramError: A worker was killed.
    """
    import torch
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        tasks,
        batch_size=None,
        sampler=numbers,
        collate_fn=_with_bytearrays,
        num_workers=workers,
        generator=torch.Generator(),  # of its own: the default one belongs to whoever seeded it
    )
    try:
        for chunk, shapes in loader:
            blocks = [
                np.frombuffer(data, dtype=dtype).reshape(shape)
                for data, (dtype, shape) in zip(chunk.blocks, shapes, strict=True)
            ]
            yield dataclasses.replace(chunk, blocks=blocks)
    except RuntimeError as error:
        if "worker" not in str(error):
            raise
        raise ProgramError(
            "a process that reads samples ended before its work, as when memory runs out; try --workers 1"
        ) from error


def _with_bytearrays(chunk: Any) -> Any:
    """Return a chunk with bytearrays, and its shapes: bytes are pickled in a tenth of the time that an array takes."""
    shapes = [(block.dtype.str, block.shape) for block in chunk.blocks]
    return dataclasses.replace(chunk, blocks=[bytearray(np.ascontiguousarray(b)) for b in chunk.blocks]), shapes
