"""Which captions of two systems are of the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from capreward.errors import InputError, shorten


@dataclass(frozen=True)
class Pairing:
    """Captions of two systems, one beside the other.

    Attributes:
        keys: of the shared images, in the order of the first system, as it writes them.
        others: the same images as the second system writes them.
        rows: captions of the first system, in its order.
        other_rows: the caption of the second system for each.
    """

    keys: list[str]
    others: list[str]
    rows: list[int]
    other_rows: list[int]

    @classmethod
    def of(cls, keys: Sequence[str], others: Sequence[str]) -> Pairing:
        """Pair captions by the image of each; ids match as they do between captions and references.

        Args:
            keys: the image of each caption of the first system.
            others: likewise of the second.

        Raises:
            InputError: no image is shared, ids are ambiguous, or the systems have several captions of an image and
                not equally many.
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
    """The keys that are among others too, to how these are written there: exactly, as file names or as numbers.

    Raises:
        InputError: an id that could mean two others, or two ids that mean one.
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
