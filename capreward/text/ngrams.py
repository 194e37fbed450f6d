"""N-grams as integers: every count of every caption without a Python loop per n-gram.

A table gives each distinct n-gram of a corpus a number. An n-gram is the pair (number of its first n-1 words as an
(n-1)-gram, number of its last word), so that order n is one look-up of 64-bit keys in a sorted array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

BASE = np.int64(1) << 31  # words below it, (n-1)-grams below 2**32: their pair fits into 63 bits


@dataclass(frozen=True)
class Words:
    """Captions as word numbers.

    Attributes:
        ids: int64 [T], all words of all captions.
        offsets: int64 [N + 1], where each caption starts in ``ids``.
    """

    ids: Ints
    offsets: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Ints:
        """Words per caption, int64 [N]."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> Ints:
        """The caption of each word, int64 [T]."""
        return np.repeat(np.arange(len(self)), self.lengths)


@dataclass(frozen=True)
class Grams:
    """The n-grams of one order, one entry per position.

    Attributes:
        row: int64 [P], the caption.
        gram: int64 [P], the n-gram's number; numbers from the table's size on are unknown to it.
        size: all numbers are below it.
    """

    row: Ints
    gram: Ints
    size: int


@dataclass(frozen=True)
class Counts:
    """How often each n-gram occurs in each caption, sorted by caption, then n-gram.

    Attributes:
        row: int64 [E], the caption.
        gram: int64 [E], the n-gram.
        count: int64 [E], at least one.
        size: all n-gram numbers are below it.
    """

    row: Ints
    gram: Ints
    count: Ints
    size: int

    @classmethod
    def of(cls, grams: Grams) -> Counts:
        """Count the n-grams of each caption."""
        pairs, count = np.unique(grams.row * max(grams.size, 1) + grams.gram, return_counts=True)
        return cls(*np.divmod(pairs, max(grams.size, 1)), count.astype(np.int64), grams.size)


def split_words(texts: Sequence[str], separator: str | None = None) -> tuple[list[str], Ints]:
    """Split tokenized captions into one flat list of words and the offsets [N + 1] of the captions in it.

    Args:
        texts: tokenized captions.
        separator: as in ``str.split``: None splits at any white space, " " at single blanks.
    """
    pieces = [text.split(separator) for text in texts]
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces)), out=offsets[1:])
    return list(chain.from_iterable(pieces)), offsets


@dataclass(frozen=True)
class NgramTable:
    """The distinct n-grams of a corpus, numbered from 0 in each order.

    Attributes:
        vocabulary: word to number.
        keys: per order 2..n the sorted int64 keys of its n-grams; a key's place is the n-gram's number.
    """

    vocabulary: dict[str, int]
    keys: tuple[Ints, ...]

    @property
    def order(self) -> int:
        """The longest n-grams it knows."""
        return len(self.keys) + 1

    @property
    def sizes(self) -> list[int]:
        """The number of distinct n-grams of each order."""
        return [len(self.vocabulary), *map(len, self.keys)]

    @classmethod
    def build(cls, texts: Sequence[str], order: int = 4) -> tuple[NgramTable, Words, list[Grams]]:
        """Number all n-grams of tokenized captions.

        Returns:
            The table, the captions as word numbers, and the n-grams of each order.
        """
        flat, offsets = split_words(texts)
        vocabulary = {word: i for i, word in enumerate(dict.fromkeys(flat))}
        words = Words(np.fromiter(map(vocabulary.__getitem__, flat), dtype=np.int64, count=len(flat)), offsets)
        grams = [Grams(words.rows, words.ids, len(vocabulary))]
        keys: list[Ints] = []
        for row, key in _following(words, order, grams):
            known, gram = np.unique(key, return_inverse=True)
            keys.append(known)
            grams.append(Grams(row, gram.astype(np.int64, copy=False), len(known)))
        return cls(vocabulary, tuple(keys)), words, grams

    def encode(self, texts: Sequence[str]) -> Words:
        """Tokenized captions as word numbers; unknown words get numbers from the vocabulary's size on."""
        flat, offsets = split_words(texts)
        ids: list[int | None] = list(map(self.vocabulary.get, flat))
        if None in ids:
            extra: dict[str, int] = {}
            start = len(self.vocabulary)
            ids = [extra.setdefault(w, start + len(extra)) if i is None else i for i, w in zip(ids, flat, strict=True)]
        return Words(np.array(ids, dtype=np.int64), offsets)

    def grams(self, words: Words) -> list[Grams]:
        """The n-grams of each order; those unknown to the table get numbers from the order's size on."""
        size = max(len(self.vocabulary), int(words.ids.max(initial=-1)) + 1)
        grams = [Grams(words.rows, words.ids, size)]
        for (row, key), known in zip(_following(words, self.order, grams), self.keys, strict=True):
            gram, size = _look_up(known, key)
            grams.append(Grams(row, gram, size))
        return grams


def _following(words: Words, order: int, grams: list[Grams]) -> Iterator[tuple[Ints, Ints]]:
    """For each order from 2 on the positions' captions and keys; reads the order before from ``grams`` as it grows."""
    rows, lengths = words.rows, words.lengths
    place = np.arange(len(words.ids)) - words.offsets[:-1][rows] if len(rows) else rows
    left = lengths[rows] - place  # words from here to the caption's end
    alive = np.arange(len(words.ids))
    for n in range(2, order + 1):
        keep = left[alive] >= n
        alive = alive[keep]
        yield rows[alive], grams[-1].gram[keep] * BASE + words.ids[alive + n - 1]


def _look_up(known: Ints, key: Ints) -> tuple[Ints, int]:
    """Numbers of keys in a sorted array; keys not in it are numbered from its size on. Returns them and the bound."""
    place = np.searchsorted(known, key)
    found = np.zeros(len(key), dtype=bool) if not len(known) else known[np.minimum(place, len(known) - 1)] == key
    if found.all():
        return place, len(known)
    missing = ~found
    new, inverse = np.unique(key[missing], return_inverse=True)
    place[missing] = len(known) + inverse
    return place, len(known) + len(new)
