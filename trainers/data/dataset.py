"""A training set: numbered items, each a picture with its captions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from capreward.errors import InputError, shorten
from trainers.data.packed_texts import PackedCaptions, Texts


@dataclass(frozen=True)
class Item:
    """One picture and its captions.

    Attributes:
        key: The name of the item, which no other item of the set has.
        picture: A ``Picture``, or a stored feature.
        captions: The captions, one or more.
    """

    key: str
    picture: Any
    captions: tuple[str, ...]


class Numbered(Protocol):
    """Values by number, which are made when they are read."""

    def __getitem__(self, i: int, /) -> Any: ...


class Dataset:
    """A set of N numbered items.

    It keeps little in memory, and nothing that workers would have to copy.

    Args:
        source: The source as the user named it.
        keys: The keys of the N items.
        pictures: The picture of each item, by number.
        captions: The captions of each item, by number.
        notes: Notes for the user, one sentence each.
        identity: A text that replaces keys and captions in the fingerprint, if they follow from it.

    Attributes:
        source: The source as the user named it.
        keys: The keys of the N items, all different.
        notes: Notes for the user: which samples were left out, and why.
    """

    def __init__(
        self,
        source: str,
        keys: list[str],
        pictures: Numbered,
        captions: Numbered,
        notes: Sequence[str] = (),
        identity: str | None = None,
    ) -> None:
        self.source = source
        self.keys = keys
        self.notes = tuple(notes)
        self._pictures = pictures
        self._captions = captions
        self._identity = identity
        self._fingerprint = ""

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, i: int) -> Item:
        return Item(self.keys[i], self.picture(i), self.captions(i))

    def __repr__(self) -> str:
        return f"Dataset({self.source!r}, {len(self.keys):,} items)"

    def first(self) -> Item | None:
        """Return the first item; None for a stream, whose items come as they are read."""
        return self[0]

    def picture(self, i: int) -> Any:
        """Return the picture of item ``i``, not opened, or its stored feature."""
        return self._pictures[i]

    def captions(self, i: int) -> tuple[str, ...]:
        """Return the captions of item ``i``."""
        captions: tuple[str, ...] = self._captions[i]
        return captions

    def fingerprint(self) -> str:
        """Return 16 hex digits that change if and only if the keys, their order or the captions change.

        The place and the format of the files do not count.
        """
        if not self._fingerprint:
            digest = hashlib.sha256()
            if self._identity is not None:
                digest.update(self._identity.encode())
            else:
                for packed in (Texts.of(self.keys), self._packed().texts):
                    digest.update(packed.ends.astype("<i8").tobytes())
                    digest.update(packed.block)
            self._fingerprint = digest.hexdigest()[:16]
        return self._fingerprint

    def _packed(self) -> PackedCaptions:
        if isinstance(self._captions, PackedCaptions):
            return self._captions
        return PackedCaptions.of(self.captions(i) for i in range(len(self)))


def len_of(dataset: Any) -> int | None:
    """Return the number of items; None for a stream."""
    try:
        return len(dataset)
    except InputError:
        return None


def without_blanks(captions: Mapping[str, Sequence[str]], source: str) -> tuple[dict[str, list[str]], list[str]]:
    """Drop empty captions, and items that have no other.

    Returns:
        The remaining items with their captions, and notes that count what was dropped.

    Raises:
        InputError: No item is left.
    """
    items: dict[str, list[str]] = {}
    blank, bare = 0, []
    for key, of_item in captions.items():
        nonempty = [caption for caption in of_item if caption.strip()]
        blank += len(of_item) - len(nonempty)
        if nonempty:
            items[key] = nonempty
        else:
            bare.append(key)
    if not items:
        raise InputError(f"{source} has no captions to learn from: those of all {len(bare):,} items are empty")
    return items, blank_notes(blank, bare)


def blank_notes(blank: int, bare: Sequence[str]) -> list[str]:
    """Return notes that tell how many captions were empty, and which items had no other."""
    notes = [f"{counted(blank, 'empty caption')} dropped"] if blank else []
    if bare:
        notes.append(f"{counted(len(bare), 'item')} without a caption left out: {shorten(list(bare))}")
    return notes


def counted(number: int, what: str) -> str:
    """Return the number with its noun: ``1 item``, ``2,000 items``."""
    return f"{number:,} {what}{'s' * (number != 1)}"
