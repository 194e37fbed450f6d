"""Batches of scenes for contrastive training, in which no picture occurs twice."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

WHOLE = 0.4  # share of the most complete captions


@dataclass(frozen=True)
class Batch:
    """Pictures and captions of B scenes.

    Attributes:
        pixels: The pictures, uint8 [B, S, S, 3].
        captions: The B captions.
    """

    pixels: Tensor
    captions: list[str]


class SceneBatches:
    """Training scenes in order of their number, with one of their captions each.

    Args:
        size: The number of scenes per batch.
        seed: The seed that selects among the captions.
        first: The number of the first scene.
        augmented: Whether pictures are redrawn and captions reworded.
    """

    def __init__(self, size: int, *, seed: int, first: int = 0, augmented: bool = False) -> None:
        self.size = size
        self.next = first
        self.augmented = augmented
        self._random = random.Random(seed)

    def take(self) -> Batch:
        """Return the next batch."""
        return self.pair()[0]

    def pair(self) -> tuple[Batch, Batch]:
        """Return the next batch, and the same scenes redrawn and reworded (the same again unless ``augmented``)."""
        from capreward.data.scenes import scene

        scenes = [scene("train", index) for index in range(self.next, self.next + self.size)]
        self.next += self.size
        first = batch_of([(s.draw(), s.caption(self._number())) for s in scenes])
        if not self.augmented:
            return first, first
        variant = 1 + int(self._random.random() * 1_000_000)
        return first, batch_of([(s.redraw(variant), s.caption(self._number(), variant)) for s in scenes])

    def _number(self) -> int:
        draw = self._random.random()
        return 0 if draw < WHOLE else 1 + int((draw - WHOLE) / (1 - WHOLE) * 4)


def batch_of(pairs: Sequence[tuple[Any, str]]) -> Batch:
    """Make a batch of pictures and captions."""
    import torch

    return Batch(torch.from_numpy(np.stack([picture for picture, _ in pairs])), [caption for _, caption in pairs])


def held_out(split: str, count: int) -> Batch:
    """Return the first ``count`` scenes of a split with their most complete captions."""
    from capreward.data.scenes import scene

    scenes = [scene(split, index) for index in range(count)]
    return batch_of([(s.draw(), s.caption(0)) for s in scenes])
