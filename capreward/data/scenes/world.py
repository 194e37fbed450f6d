"""The scenes by split, index and seed, and the pictures of them for all functions that take pictures."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from capreward.data.scenes.captions import CAPTIONS_EACH, caption
from capreward.data.scenes.layout import Group, Relation
from capreward.data.scenes.pictures import draw, redraw
from capreward.data.scenes.sampling import Content, sample
from capreward.data.scenes.splits import CAPTIONS, REDRAW, SPLITS, random_stream
from capreward.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = "1"  # the version of the world, which changes whenever a picture, a caption or a fact changes

_KEY = re.compile(rf"scenes-({'|'.join(SPLITS)})-(\d{{6,10}})(?:-s([1-9]\d{{0,9}}))?")


@dataclass(frozen=True)
class Scene:
    """One picture of the world, with its captions and all facts that are true of it.

    Attributes:
        split: The split, ``train``, ``val`` or ``test``; splits differ in their combinations of kind and colour
            (``splits.reserved_split``).
        index: The index of the picture, from 0 on; a split has no end.
        seed: The seed of the world.
    """

    split: str
    index: int
    seed: int = 0

    @property
    def key(self) -> str:
        """The name of the scene: ``scenes-test-000123``, or ``scenes-test-000123-s7`` with a seed other than 0."""
        return f"scenes-{self.split}-{self.index:06d}" + (f"-s{self.seed}" if self.seed else "")

    @cached_property
    def content(self) -> Content:
        """The content of the scene, which was drawn at random."""
        return sample(self.split, self.index, self.seed)

    @property
    def objects(self) -> tuple[Group, ...]:
        """The groups of objects, the main group first; no two groups of a picture have one kind."""
        return self.content.groups

    @property
    def relations(self) -> tuple[Relation, ...]:
        """The relations that a full caption states: for each group after the first, one to an earlier group."""
        return self.content.relations

    @property
    def place(self) -> str:
        """The place: ``beach``, ``field``, ..."""
        return self.content.place

    @property
    def light(self) -> str:
        """The light: ``day``, ``sunset``, ``night`` or ``fog``."""
        return self.content.light

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """The five captions of the scene, of which the first says everything (``captions.caption``)."""
        return tuple(self.caption(number) for number in range(CAPTIONS_EACH))

    def caption(self, number: int, variant: int = 0) -> str:
        """Return one of the five captions, or a caption of the same kind in other words.

        Args:
            number: The number of the caption, 0 to 4.
            variant: The variant of the wording, 0 to 2**32 - 1; 0 gives the caption itself.

        Raises:
            InputError: If the number or the variant is out of range.
        """
        if not 0 <= number < CAPTIONS_EACH:
            raise InputError(f"a picture of scenes has captions 0 to {CAPTIONS_EACH - 1}; found {number}")
        return caption(
            self.content, number, random_stream(self.split, self.index, self.seed, CAPTIONS + number, variant).random
        )

    def draw(self) -> npt.NDArray[np.uint8]:
        """Draw the picture, uint8 [64, 64, 3], with the same bits on every machine."""
        return draw(self.content)

    def redraw(self, variant: int) -> npt.NDArray[np.uint8]:
        """Draw another picture of the same facts, uint8 [64, 64, 3]; variant 0 gives the picture itself.

        Objects move a little and may be mirrored; the background and the brightness vary.
        """
        if variant == 0:
            return self.draw()
        return redraw(self.content, random_stream(self.split, self.index, self.seed, REDRAW, variant).random)


def scene(split: str, index: int, seed: int = 0) -> Scene:
    """Return a scene.

    Args:
        split: The split: ``train``, ``val`` or ``test``.
        index: The index of the picture in the split, 0 to 2**32 - 1.
        seed: The seed of the world, 0 to 2**32 - 1.

    Raises:
        InputError: If the split is unknown, or if a number is below 0 or above 2**32 - 1.
    """
    random_stream(split, index, seed, 0)
    return Scene(split, index, seed)


@dataclass(frozen=True)
class ScenePicture:
    """The picture of a scene, for all functions that take pictures; it is small, hashable and can be pickled.

    Attributes:
        split: The split: ``train``, ``val`` or ``test``.
        index: The index of the picture in the split.
        seed: The seed of the world.
    """

    split: str
    index: int
    seed: int = 0

    @property
    def key(self) -> Hashable:
        """The name of the scene."""
        return self.scene.key

    @property
    def scene(self) -> Scene:
        """The scene that the picture shows."""
        return Scene(self.split, self.index, self.seed)

    def open(self) -> Image:
        """Draw the picture, in mode RGB, 64 by 64 pixels."""
        from PIL import Image

        return Image.fromarray(self.scene.draw())

    def __str__(self) -> str:
        return self.scene.key


def picture_of(key: str) -> ScenePicture | None:
    """Return the picture of a name such as ``scenes-test-000123``; None for any other name."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    split, index, seed = match[1], int(match[2]), int(match[3] or 0)
    picture = ScenePicture(split, index, seed)
    return picture if max(index, seed) < 2**32 and picture.key == key else None
