"""The decoding of a dataset, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from trainers.captioners.base import Captioner
    from trainers.data import Batch, Dataset
    from trainers.decoding import Decoded, Decoding


def each_decoded(
    captioner: Captioner,
    dataset: Dataset,
    settings: Decoding,
    *,
    batch_size: int,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Batch, Decoded]]:
    """Decode the share of one process of a dataset, in evaluation mode: of every ``world`` batches one.

    Args:
        captioner: The captioner, on its device.
        dataset: The dataset to caption.
        settings: The settings of the decoding.
        batch_size: The number of images at a time.
        rank: The rank of this process.
        world: The number of processes.
        workers: The number of worker processes that decode pictures.
        generator: The generator of the method ``sample``.

    Yields:
        A batch of B images and their [B, K] captions.
    """
    from trainers.data import ordered
    from trainers.data.batch import images_of
    from trainers.decoding import decode

    device = next(captioner.parameters()).device
    was_training = captioner.training
    captioner.eval()
    try:
        for batch in ordered(
            dataset, captioner.preprocessing, batch_size=batch_size, rank=rank, world=world, workers=workers
        ):
            with torch.no_grad():
                memory = captioner.encode(captioner.look(images_of(batch).to(device)))
                decoded = decode(captioner, memory, settings, generator=generator)
            yield batch, decoded
    finally:
        captioner.train(was_training)
