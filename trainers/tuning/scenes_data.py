"""Batches of scenes for contrastive training, each fresh: no picture is shown twice."""

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
    """B pictures and captions of B scenes.

    Attributes:
        pixels: uint8 [B, S, S, 3].
        captions: B strings.
    """

    pixels: Tensor
    captions: list[str]


class SceneBatches:
    """Training scenes in order of their number, with one of their captions each.

    Args:
        size: scenes per batch.
        seed: chooses among the captions.
        first: number of the first scene.
        augmented: pictures redrawn and captions reworded.
    """

    def __init__(self, size: int, *, seed: int, first: int = 0, augmented: bool = False) -> None:
        self.size = size
        self.next = first
        self.augmented = augmented
        self._random = random.Random(seed)

    def take(self) -> Batch:
        """The next batch."""
        return self.pair()[0]

    def pair(self) -> tuple[Batch, Batch]:
        """The next batch, and the same scenes redrawn and reworded (the same again unless ``augmented``)."""
        from capreward.data.scenes import scene

        scenes = [scene("train", index) for index in range(self.next, self.next + self.size)]
        self.next += self.size
        first = batch_of([(s.draw(), s.captions[self._number()]) for s in scenes])
        if not self.augmented:
            return first, first
        variant = 1 + int(self._random.random() * 1_000_000)
        return first, batch_of([(s.redraw(variant), s.caption(self._number(), variant)) for s in scenes])

    def _number(self) -> int:
        draw = self._random.random()
        return 0 if draw < WHOLE else 1 + int((draw - WHOLE) / (1 - WHOLE) * 4)


def batch_of(shown: Sequence[tuple[Any, str]]) -> Batch:
    """Pictures and captions as one batch."""
    import torch

    return Batch(torch.from_numpy(np.stack([picture for picture, _ in shown])), [caption for _, caption in shown])


def held_out(split: str, count: int) -> Batch:
    """The first ``count`` scenes of a split with their most complete captions."""
    from capreward.data.scenes import scene

    scenes = [scene(split, index) for index in range(count)]
    return batch_of([(s.draw(), s.captions[0]) for s in scenes])
