"""Pairs of images and captions, made from batches of items: one caption is drawn by seed, step and place alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainers.data import Batch, Batches, ordered
from trainers.tuning.items import Items
from trainers.tuning.objective import Pairs

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.spec import Preprocessing


@dataclass
class LoadedBatch:
    """A batch with the further images of its items.

    Attributes:
        batch: The batch of items.
        more: The same items with other images, in the same order unless one could not be read; or None.
    """

    batch: Batch
    more: Batch | None


class PairBatches:
    """Endless batches of training items, like :class:`trainers.data.Batches`, with their further images.

    Args:
        items: The training items.
        preprocessing: The preprocessing of the image tower.
        settings: The settings of ``Batches``.
    """

    def __init__(self, items: Items, preprocessing: Preprocessing | None, **settings: Any) -> None:
        wanted = preprocessing if items.has_images else None
        self.main = Batches(items.pairs, wanted, **settings)
        self.more = None if items.more_images is None else Batches(items.more_images, wanted, **settings)

    def __iter__(self) -> Iterator[LoadedBatch]:
        if self.more is None:
            yield from (LoadedBatch(batch, None) for batch in self.main)
        else:
            yield from (LoadedBatch(*both) for both in zip(self.main, self.more, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return the position; see :meth:`trainers.data.Batches.state_dict`."""
        return self.main.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a stored position.

        Raises:
            InputError: The state is of other data, another seed or another number of samples per step.
        """
        for batches in (self.main, self.more):
            if batches is not None:
                batches.load_state_dict(state)


def held_out_batches(items: Items, preprocessing: Preprocessing | None, **settings: Any) -> Iterator[LoadedBatch]:
    """Yield one pass over held-out items, like :func:`trainers.data.ordered`, with their further images."""
    wanted = preprocessing if items.has_images else None
    main = ordered(items.pairs, wanted, **settings)
    if items.more_images is None:
        yield from (LoadedBatch(batch, None) for batch in main)
        return
    yield from (LoadedBatch(*both) for both in zip(main, ordered(items.more_images, wanted, **settings), strict=True))


class PairMaker:
    """A maker of pairs from loaded batches.

    Args:
        items: The items of the batches.
        preprocessing: The preprocessing of the image tower.
        device: The device of the images.
        seed: The seed of everything that is drawn.
        first_caption: Whether to take the first caption instead of a random one, as for held-out items.
    """

    def __init__(
        self, items: Items, preprocessing: Preprocessing, device: Any, seed: int, *, first_caption: bool = False
    ) -> None:
        self.items = items
        self.preprocessing = preprocessing
        self.device = device
        self.seed = seed
        self.first_caption = first_caption
        wanted = items.more_captions is not None
        self._rows = {key: row for row, key in enumerate(items.pairs.keys)} if wanted else {}

    def pairs(self, loaded: LoadedBatch, step: int, first: int) -> tuple[Pairs, list[random.Random]]:
        """Return the pairs, and for each a random generator for the objective.

        Args:
            loaded: The batch of B items.
            step: The step of the run.
            first: The place of the first item in the step, over all processes; draws depend on places alone.
        """
        batch = loaded.batch
        chances = [random.Random(f"{self.seed} {step} {first + row}") for row in range(len(batch))]
        drawn = [_drawn(each, chance) for each, chance in zip(batch.captions, chances, strict=True)]
        captions = [each[0] for each in batch.captions] if self.first_caption else drawn
        more = None
        if self.items.more_captions is not None:
            further_captions = [self.items.more_captions[self._rows[key]] for key in batch.keys]
            more = [_drawn(each, chance) for each, chance in zip(further_captions, chances, strict=True)]
        images = self._images(batch)
        further = None if loaded.more is None or images is None else self._further(loaded, images)
        return Pairs(images, captions, further, more), chances

    def _images(self, batch: Batch) -> Tensor | None:
        from capreward.data.images.preprocessing import normalise

        if batch.features is not None:
            return batch.features.to(self.device, non_blocking=True)
        if batch.pixels is None:
            return None
        return normalise(batch.pixels.to(self.device, non_blocking=True), self.preprocessing)

    def _further(self, loaded: LoadedBatch, images: Tensor) -> Tensor:
        """Return the further images in the order of the batch; an item's own image replaces an unreadable one."""
        assert loaded.more is not None  # noqa: S101  # for the type checker: asked before
        loaded_images = self._images(loaded.more)
        assert loaded_images is not None  # noqa: S101  # likewise: further images are images
        rows = {key: row for row, key in enumerate(loaded.more.keys)}
        places = [rows.get(key) for key in loaded.batch.keys]
        if places == list(range(len(loaded_images))):
            return loaded_images
        further = images.clone()
        for place, row in enumerate(places):
            if row is not None:
                further[place] = loaded_images[row]
        return further


def _drawn(values: Any, chance: random.Random) -> str:
    return str(values[int(chance.random() * len(values))])
