"""The pictures of ``scenes`` by split, index and seed, and as pictures for everything that takes pictures."""

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
from capreward.data.scenes.splits import CAPTIONS, REDRAW, SPLITS, stream
from capreward.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = "1"  # of the world: another one wherever a picture, a caption or a fact changes

_KEY = re.compile(rf"scenes-({'|'.join(SPLITS)})-(\d{{6,10}})(?:-s([1-9]\d{{0,9}}))?")


@dataclass(frozen=True)
class Scene:
    """One picture of the world, with its captions and all that is true of it.

    Attributes:
        split: ``train``, ``val`` or ``test``; they differ in combinations of kind and colour (``splits.owner``).
        index: which picture, from 0 on; every split goes on for ever.
        seed: of the world.
    """

    split: str
    index: int
    seed: int = 0

    @property
    def key(self) -> str:
        """The name, ``scenes-test-000123``; with a seed other than 0 ``scenes-test-000123-s7``."""
        return f"scenes-{self.split}-{self.index:06d}" + (f"-s{self.seed}" if self.seed else "")

    @cached_property
    def content(self) -> Content:
        """All that was drawn by lot."""
        return sample(self.split, self.index, self.seed)

    @property
    def objects(self) -> tuple[Group, ...]:
        """The groups of objects, the main one first; kinds differ within a picture."""
        return self.content.groups

    @property
    def relations(self) -> tuple[Relation, ...]:
        """What a full caption says: for each group after the first a relation to an earlier one."""
        return self.content.relations

    @property
    def place(self) -> str:
        """Where it is: ``beach``, ``field``, ..."""
        return self.content.place

    @property
    def light(self) -> str:
        """``day``, ``sunset``, ``night`` or ``fog``."""
        return self.content.light

    @cached_property
    def captions(self) -> tuple[str, ...]:
        """Five captions, the first of which says everything (``captions.caption``)."""
        return tuple(self.caption(number) for number in range(CAPTIONS_EACH))

    def caption(self, number: int, variant: int = 0) -> str:
        """One of the five captions, or with a variant above 0 the same kind of caption in other words.

        Raises:
            InputError: a number beyond 4 or a variant out of range.
        """
        if not 0 <= number < CAPTIONS_EACH:
            raise InputError(f"a picture of scenes has captions 0 to {CAPTIONS_EACH - 1}; found {number}")
        return caption(
            self.content, number, stream(self.split, self.index, self.seed, CAPTIONS + number, variant).random
        )

    def draw(self) -> npt.NDArray[np.uint8]:
        """The picture, uint8 [64, 64, 3], the same bits on every machine."""
        return draw(self.content)

    def redraw(self, variant: int) -> npt.NDArray[np.uint8]:
        """The same facts in another picture, uint8 [64, 64, 3]; variant 0 is the picture itself.

        Objects move a little and are mirrored, the background and the brightness vary.
        """
        if variant == 0:
            return self.draw()
        return redraw(self.content, stream(self.split, self.index, self.seed, REDRAW, variant).random)


def scene(split: str, index: int, seed: int = 0) -> Scene:
    """The picture ``index`` of a split.

    Raises:
        InputError: an unknown split, or a number below 0 or above 2**32 - 1.
    """
    stream(split, index, seed, 0)
    return Scene(split, index, seed)


@dataclass(frozen=True)
class ScenePicture:
    """A scene wherever a picture is taken; small, hashable and picklable."""

    split: str
    index: int
    seed: int = 0

    @property
    def key(self) -> Hashable:
        """The scene's name."""
        return self.scene.key

    @property
    def scene(self) -> Scene:
        """What it shows."""
        return Scene(self.split, self.index, self.seed)

    def open(self) -> Image:
        """Draw it: RGB, 64 by 64."""
        from PIL import Image

        return Image.fromarray(self.scene.draw())

    def __str__(self) -> str:
        return self.scene.key


def picture_of(key: str) -> ScenePicture | None:
    """The picture of that name; None for a name that is none of this world's."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    split, index, seed = match[1], int(match[2]), int(match[3] or 0)
    picture = ScenePicture(split, index, seed)
    return picture if max(index, seed) < 2**32 and picture.key == key else None
