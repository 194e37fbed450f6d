"""N-grams as integers: every count of every caption without a Python loop per n-gram.

A table gives each distinct n-gram of a corpus a number. An n-gram is the pair (number of its first n-1 words as an
(n-1)-gram, number of its last word), so that order n is one look-up of 64-bit keys in a sorted array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int32]
Counted = TypeVar("Counted")

BASE = np.int64(1) << 31  # words and (n-1)-grams are numbered below it: their pair fits into 62 bits
BLOCK = 50_000  # captions split into words at a time


@dataclass(frozen=True)
class Words:
    """Captions as word numbers.

    Attributes:
        ids: int32 [T], all words of all captions.
        offsets: int64 [N + 1], where each caption starts in ``ids``.
    """

    ids: Numbers
    offsets: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Ints:
        """Words per caption, int64 [N]."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> Numbers:
        """The caption of each word, int32 [T]."""
        return np.repeat(np.arange(len(self), dtype=np.int32), self.lengths)


@dataclass(frozen=True)
class Grams:
    """The n-grams of one order, one entry per position.

    Attributes:
        row: int32 [P], the caption.
        gram: int32 [P], the n-gram's number; numbers from the table's size on are unknown to it.
        size: all numbers are below it.
    """

    row: Numbers
    gram: Numbers
    size: int


@dataclass(frozen=True)
class Counts:
    """How often each n-gram occurs in each caption, sorted by caption, then the place where it first occurs.

    The original programs add up a caption's n-grams in this order, on which the last bit of a sum hangs.

    Attributes:
        row: int32 [E], the caption.
        gram: int32 [E], the n-gram.
        count: int32 [E], at least one.
        size: all n-gram numbers are below it.
    """

    row: Numbers
    gram: Numbers
    count: Numbers
    size: int

    @classmethod
    def of(cls, grams: Grams) -> Counts:
        """Count the n-grams of each caption."""
        size = max(grams.size, 1)
        pairs, first, count = distinct(grams.row * np.int64(size) + grams.gram, places(grams.row))
        row, gram = np.divmod(pairs, size)
        order = in_order(grams.row, row, first)
        return cls(row[order].astype(np.int32), gram[order].astype(np.int32), count[order].astype(np.int32), grams.size)


def places(row: Numbers) -> Ints:
    """The place of each n-gram within its caption, given the caption of each in ascending order: int64 [P]."""
    return np.arange(len(row)) - _first_of(row)[row]


def in_order(rows: Numbers, row: Ints | Numbers, first: Ints | Numbers) -> Ints:
    """The permutation that sorts entries by caption, then place, without a comparison.

    Args:
        rows: the caption of each n-gram of all captions, [P], ascending.
        row: the caption of each entry, [E].
        first: the place of each entry in its caption, [E], all different.
    """
    entry = np.full(len(rows), -1, dtype=np.int64)
    entry[_first_of(rows)[row] + first] = np.arange(len(row))
    return entry[entry >= 0]


def _first_of(row: Numbers) -> Ints:
    """Where each caption's n-grams start in ``row``, int64 [last caption + 1]."""
    each = np.bincount(row)
    return np.cumsum(each) - each


def distinct(keys: Ints, place: Ints) -> tuple[Ints, Ints, Ints]:
    """The distinct keys in ascending order, the lowest place of each and how often it occurs.

    Args:
        keys: int64 [P], not negative.
        place: int64 [P], not negative, ascending among equal keys.
    """
    if not len(keys):
        return keys, place, place
    bits = int(place.max()).bit_length()
    if int(keys.max()) >> (63 - bits):
        found, index, count = np.unique(keys, return_index=True, return_counts=True)
        return found, place[index], count
    # Key and place in one number: sorting it takes half the time of sorting keys and their order.
    both = np.sort(keys << bits | place)
    key = both >> bits
    start = np.flatnonzero(np.diff(key, prepend=-1))
    return key[start], both[start] & ((1 << bits) - 1), np.diff(start, append=len(key))


def split_words(texts: Sequence[str], separator: str | None = None) -> tuple[list[str], list[int]]:
    """Split tokenized captions into one flat list of words and the number of words of each.

    Args:
        texts: tokenized captions.
        separator: as in ``str.split``: None splits at any white space, " " at single blanks.
    """
    pieces = [text.split(separator) for text in texts]
    return list(chain.from_iterable(pieces)), list(map(len, pieces))


def number_words(
    texts: Sequence[str], vocabulary: dict[str, int], *, grow: bool, separator: str | None = None
) -> Words:
    """Tokenized captions as word numbers.

    Args:
        texts: N tokenized captions.
        vocabulary: word to number.
        grow: add unknown words to the vocabulary; otherwise they get numbers from its size on, for this call.
        separator: as in ``str.split``.
    """
    numbers = vocabulary if grow else _Extended(vocabulary)
    ids, lengths = [np.zeros(0, dtype=np.int32)], [np.zeros(1, dtype=np.int64)]
    for start in range(0, len(texts), BLOCK):
        flat, counts = split_words(texts[start : start + BLOCK], separator)
        if grow:
            for word in dict.fromkeys(flat):
                numbers.setdefault(word, len(numbers))
        ids.append(np.fromiter(map(numbers.__getitem__, flat), dtype=np.int32, count=len(flat)))
        lengths.append(np.array(counts, dtype=np.int64))
    return Words(np.concatenate(ids), np.cumsum(np.concatenate(lengths)))


class _Extended(dict[str, int]):
    """A frozen vocabulary's view that numbers unknown words from its size on."""

    def __init__(self, vocabulary: dict[str, int]) -> None:
        super().__init__()
        self._known = vocabulary
        self._unknown = 0

    def __missing__(self, word: str) -> int:
        number = self._known.get(word)
        if number is None:
            number = len(self._known) + self._unknown
            self._unknown += 1
        self[word] = number
        return number


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
    def build(
        cls, texts: Sequence[str], order: int, count: Callable[[Grams], Counted]
    ) -> tuple[NgramTable, Words, list[Counted]]:
        """Number all n-grams of tokenized captions.

        Args:
            texts: N tokenized captions.
            order: the longest n-grams.
            count: what to make of the n-grams of each order, whose positions are not kept.

        Returns:
            The table, the captions as word numbers, and what ``count`` made of each order.
        """
        vocabulary: dict[str, int] = {}
        words = number_words(texts, vocabulary, grow=True)
        grams = Grams(words.rows, words.ids, len(vocabulary))
        counted, keys = [count(grams)], []
        for n in range(2, order + 1):
            row, key = _longer(words, n, grams)
            known, gram = np.unique(key, return_inverse=True)
            grams = Grams(row, gram.astype(np.int32), len(known))
            keys.append(known)
            counted.append(count(grams))
        return cls(vocabulary, tuple(keys)), words, counted

    def encode(self, texts: Sequence[str]) -> Words:
        """Tokenized captions as word numbers; unknown words get numbers from the vocabulary's size on."""
        return number_words(texts, self.vocabulary, grow=False)

    def grams(self, words: Words) -> Iterator[Grams]:
        """The n-grams of each order; those unknown to the table get numbers from the order's size on."""
        size = max(len(self.vocabulary), int(words.ids.max(initial=-1)) + 1)
        grams = Grams(words.rows, words.ids, size)
        yield grams
        for n, known in enumerate(self.keys, start=2):
            row, key = _longer(words, n, grams)
            grams = Grams(row, *_look_up(known, key))
            yield grams

    def counts(self, words: Words) -> list[Counts]:
        """Per order the counts of each n-gram in each caption."""
        return [Counts.of(g) for g in self.grams(words)]


def _longer(words: Words, n: int, shorter: Grams) -> tuple[Numbers, Ints]:
    """The captions and keys of all n-grams, from the (n-1)-grams, which stand at every position but the last n-2."""
    last = np.cumsum(np.maximum(words.lengths - n + 2, 0))[words.lengths >= n - 1] - 1
    keep = np.ones(len(shorter.row), dtype=bool)
    keep[last] = False
    row = shorter.row[keep]
    place = np.arange(len(row)) - _starts(words, n)[row] + words.offsets[:-1][row]
    return row, shorter.gram[keep] * BASE + words.ids[place + n - 1]


def _starts(words: Words, n: int) -> Ints:
    """Where each caption's n-grams start among all n-grams, int64 [N]."""
    each = np.maximum(words.lengths - n + 1, 0)
    return np.cumsum(each) - each


def _look_up(known: Ints, key: Ints) -> tuple[Numbers, int]:
    """Numbers of keys in a sorted array; keys not in it are numbered from its size on. Returns them and the bound."""
    place = np.searchsorted(known, key)
    found = np.zeros(len(key), dtype=bool) if not len(known) else known[np.minimum(place, len(known) - 1)] == key
    if found.all():
        return place.astype(np.int32), len(known)
    missing = ~found
    new, inverse = np.unique(key[missing], return_inverse=True)
    place[missing] = len(known) + inverse
    return place.astype(np.int32), len(known) + len(new)
