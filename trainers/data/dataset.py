"""A training set: items by number, each a picture with its captions."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from capreward.errors import InputError, shorten
from trainers.data.packed_texts import PackedCaptions, Texts


@dataclass(frozen=True)
class Item:
    """One picture and what people say of it.

    Attributes:
        key: its name, which no other item of the set has.
        picture: a ``Picture``, or a stored feature.
        captions: one or more.
    """

    key: str
    picture: Any
    captions: tuple[str, ...]


class Numbered(Protocol):
    """Values by number, made when they are asked for."""

    def __getitem__(self, i: int, /) -> Any: ...


class Dataset:
    """N items by number; little is kept in memory, and nothing that workers would have to copy.

    Args:
        source: as the user named it.
        keys: of the N items.
        pictures: of each item, by number.
        captions: of each item, by number.
        notes: what a person should know, one sentence each.
        identity: what stands for keys and captions in the fingerprint, where they follow from it.

    Attributes:
        source: as the user named it.
        keys: of the N items, all different.
        notes: what a person should know: samples left out, and why.
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
        """The first item; None of a stream, whose items come as they are read."""
        return self[0]

    def picture(self, i: int) -> Any:
        """The picture of item ``i``, not opened, or its stored feature."""
        return self._pictures[i]

    def captions(self, i: int) -> tuple[str, ...]:
        """The captions of item ``i``."""
        captions: tuple[str, ...] = self._captions[i]
        return captions

    def fingerprint(self) -> str:
        """16 hex digits that change if the keys, their order or the captions do, and only then.

        Where the files lie, and in which format, does not count.
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
    """The number of items; None of a stream."""
    try:
        return len(dataset)
    except InputError:
        return None


def without_blanks(captions: Mapping[str, Sequence[str]], source: str) -> tuple[dict[str, list[str]], list[str]]:
    """Drop empty captions, and items that have no other.

    Returns:
        The items that are left with their captions, and notes that count what was dropped.

    Raises:
        InputError: nothing is left.
    """
    kept: dict[str, list[str]] = {}
    blank, bare = 0, []
    for key, each in captions.items():
        said = [caption for caption in each if caption.strip()]
        blank += len(each) - len(said)
        if said:
            kept[key] = said
        else:
            bare.append(key)
    if not kept:
        raise InputError(f"{source} has no captions to learn from: those of all {len(bare):,} items are empty")
    return kept, blank_notes(blank, bare)


def blank_notes(blank: int, bare: Sequence[str]) -> list[str]:
    """Say how many captions were empty, and which items had no other."""
    notes = [f"{counted(blank, 'empty caption')} dropped"] if blank else []
    if bare:
        notes.append(f"{counted(len(bare), 'item')} without a caption left out: {shorten(list(bare))}")
    return notes


def counted(number: int, what: str) -> str:
    """``1 item``, ``2,000 items``."""
    return f"{number:,} {what}{'s' * (number != 1)}"
