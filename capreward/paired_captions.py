"""The pairing of captions of two systems that are of the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from capreward.errors import InputError, shorten


@dataclass(frozen=True)
class Pairing:
    """The paired captions of two systems.

    Attributes:
        keys: The keys of the shared images, in the order and the spelling of the first system.
        others: The keys of the same images in the spelling of the second system.
        rows: The rows of captions of the first system, in its order.
        other_rows: For each of these rows the row of the second system's caption.
    """

    keys: list[str]
    others: list[str]
    rows: list[int]
    other_rows: list[int]

    @classmethod
    def of(cls, keys: Sequence[str], others: Sequence[str]) -> Pairing:
        """Pair captions by the image of each; ids match as they do between captions and references.

        Args:
            keys: The image of each caption of the first system.
            others: The image of each caption of the second system.

        Raises:
            InputError: No image is shared, ids are ambiguous, or the systems have several captions of an image, but not
                equally many.
        """
        mine, theirs = _rows(keys), _rows(others)
        names = shared_names(list(mine), list(theirs))
        if not names:
            raise InputError(
                f"the two share no image: the first are {next(iter(mine), 'none')} and {next(iter(theirs), 'none')}"
            )
        uneven = [key for key, name in names.items() if len(mine[key]) != len(theirs[name])]
        if uneven:
            counts = f"{len(mine[uneven[0]])} and {len(theirs[names[uneven[0]]])}"
            raise InputError(f"image {uneven[0]} has {counts} captions in the two; give both equally many of an image")
        partner: dict[int, int] = {}
        for key, name in names.items():
            partner.update(zip(mine[key], theirs[name], strict=True))
        rows = [row for row, key in enumerate(keys) if key in names]
        return cls(list(names), list(names.values()), rows, [partner[row] for row in rows])


def shared_names(keys: Sequence[str], others: Sequence[str]) -> dict[str, str]:
    """Map each key that is among ``others`` too to its spelling there; keys match exactly, as file names or as numbers.

    Raises:
        InputError: An id could mean two others, or two ids mean one.
    """
    from capreward.data.image_ids import IdIndex

    index = IdIndex(others, {}, "the other system")
    hits = {key: index.find(key) for key in keys}
    names = {key: hit[0] for key, hit in hits.items() if hit is not None}
    owners: dict[str, list[str]] = {}
    for key, name in names.items():
        owners.setdefault(name, []).append(key)
    twice = next((found for found in owners.values() if len(found) > 1), None)
    if twice is not None:
        raise InputError(f"ids {shorten(twice)} of one system mean one image of the other; write ids in one way")
    return names


def _rows(keys: Sequence[str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        found.setdefault(key, []).append(row)
    return found
