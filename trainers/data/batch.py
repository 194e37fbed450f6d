"""One batch, and the class that makes batches of samples that were read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from capreward.data.images.cropped_picture import DecodedPicture
from capreward.errors import InputError
from trainers.data.dataset import Dataset
from trainers.data.reader import Chunk, Crops

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.spec import Preprocessing


@dataclass
class Batch:
    """A batch of B samples.

    Attributes:
        keys: The keys of the samples.
        pictures: The value for ``Samples.images``: pictures, with the crops that rewards need, or stored features.
        captions: The captions of each sample, one or more.
        pixels: Crops for the captioner, uint8 [B, S, S, 3], not normalised; None for stored features.
        features: Stored features, float32 [B, *shape]; None for pictures.
        broken: One sentence for each sample that could not be read; another sample replaces it.
        epoch: The epoch of the first sample, counted from 0.
        position: The position of the first sample in the epoch, counted from 0.
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


class BatchMaker:
    """A maker of batches from samples that were read.

    Args:
        dataset: The dataset of the samples.
        preprocessing: The preprocessing of the captioner's pixels, or None if it takes none.
        also: The preprocessings of the rewards.
    """

    def __init__(self, dataset: Dataset, preprocessing: Preprocessing | None, also: Sequence[Preprocessing]) -> None:
        self.dataset = dataset
        self.preprocessing = preprocessing
        self.also = tuple(also)
        self.crops = Crops([*([] if preprocessing is None else [preprocessing]), *also])

    def batch(self, chunk: Chunk, epoch: int, position: int) -> Batch:
        """Make the batch of a chunk."""
        import torch

        keys = chunk.keys or [self.dataset.keys[i] for i in chunk.indices]
        pictures = chunk.pictures or [self.dataset.picture(i) for i in chunk.indices]
        if len(chunk.blocks) == 1 and chunk.blocks[0].dtype == "float32":
            features = torch.from_numpy(chunk.blocks[0])
            return Batch(keys, pictures, chunk.captions, None, features, chunk.broken, epoch, position)
        if self.also and chunk.blocks:
            crops = {p: chunk.blocks[self.crops.place(p)] for p in self.also}
            pictures = [DecodedPicture(p, {q: crops[q][n] for q in crops}) for n, p in enumerate(pictures)]
        pixels = None
        if self.preprocessing is not None and chunk.blocks:
            pixels = torch.from_numpy(chunk.blocks[self.crops.place(self.preprocessing)])
        return Batch(keys, pictures, chunk.captions, pixels, None, chunk.broken, epoch, position)


def check_sizes(batch_size: int, rank: int, world: int, workers: int) -> None:
    """Refuse sizes that are impossible.

    Raises:
        InputError: A size is wrong; the message names the sizes.
    """
    if batch_size < 1 or workers < 0 or not 0 <= rank < world:
        raise InputError(
            f"batches need batch_size >= 1, workers >= 0 and 0 <= rank < world; found batch_size {batch_size}, "
            f"workers {workers}, rank {rank} of {world}"
        )


def images_of(batch: Batch) -> Tensor:
    """Return the input of ``Captioner.look`` for a batch: crops, or stored features."""
    images = batch.features if batch.pixels is None else batch.pixels
    if images is None:
        raise InputError(f"the items {', '.join(batch.keys[:3])} have neither pictures nor features")
    return images
