"""Batches of items to pairs: one caption of each, drawn from seed, step and place alone."""

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
        batch: of items.
        more: of the same items with other images, in the same order unless one could not be read; or None.
    """

    batch: Batch
    more: Batch | None


class PairBatches:
    """Endless batches of training items, as :class:`trainers.data.Batches`, with their further images.

    Args:
        items: the training items.
        preprocessing: of the image tower.
        settings: of ``Batches``.
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
        """Where they are; see :meth:`trainers.data.Batches.state_dict`."""
        return self.main.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            InputError: the state is of other data, another seed or another size of a step.
        """
        for batches in (self.main, self.more):
            if batches is not None:
                batches.load_state_dict(state)


def held_out_batches(items: Items, preprocessing: Preprocessing | None, **settings: Any) -> Iterator[LoadedBatch]:
    """One pass over held-out items in order, as :func:`trainers.data.ordered`, with their further images."""
    wanted = preprocessing if items.has_images else None
    main = ordered(items.pairs, wanted, **settings)
    if items.more_images is None:
        yield from (LoadedBatch(batch, None) for batch in main)
        return
    yield from (LoadedBatch(*both) for both in zip(main, ordered(items.more_images, wanted, **settings), strict=True))


class PairMaker:
    """Makes pairs of what was loaded.

    Args:
        items: that the batches are of.
        preprocessing: of the image tower.
        device: of the images.
        seed: of all that is drawn.
        first_caption: take the first caption instead of one drawn by lot, as for held-out items.
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
        """Pairs, and a generator of each for what the objective draws.

        Args:
            loaded: B items.
            step: of the run.
            first: place of the first item in the step, over all processes: what is drawn depends on places alone.
        """
        batch = loaded.batch
        chances = [random.Random(f"{self.seed} {step} {first + row}") for row in range(len(batch))]
        drawn = [_drawn(each, chance) for each, chance in zip(batch.captions, chances, strict=True)]
        captions = [each[0] for each in batch.captions] if self.first_caption else drawn
        more = None
        if self.items.more_captions is not None:
            known = [self.items.more_captions[self._rows[key]] for key in batch.keys]
            more = [_drawn(each, chance) for each, chance in zip(known, chances, strict=True)]
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
        """The further images in the order of the batch; the item's own where its further one could not be read."""
        assert loaded.more is not None  # noqa: S101  # for the type checker: asked before
        found = self._images(loaded.more)
        assert found is not None  # noqa: S101  # likewise: further images are images
        rows = {key: row for row, key in enumerate(loaded.more.keys)}
        taken = [rows.get(key) for key in loaded.batch.keys]
        if taken == list(range(len(found))):
            return found
        further = images.clone()
        for place, row in enumerate(taken):
            if row is not None:
                further[place] = found[row]
        return further


def _drawn(values: Any, chance: random.Random) -> str:
    return str(values[int(chance.random() * len(values))])
