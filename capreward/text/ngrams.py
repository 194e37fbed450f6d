"""N-grams as integers, so that all n-grams of all captions are counted without a Python loop per n-gram.

A table gives each distinct n-gram of a corpus a number. An n-gram is the pair (number of its first n-1 words as an
(n-1)-gram, number of its last word), so that order n needs one look-up of 64-bit keys in a sorted array.
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

BASE = np.int64(1) << 31  # numbers of words and (n-1)-grams are below it, so that a pair fits into 62 bits
BLOCK = 50_000  # captions that are split into words at a time


@dataclass(frozen=True)
class Words:
    """Captions as word numbers.

    Attributes:
        ids: The numbers of all words of all captions, int32 [T].
        offsets: The start of each caption in ``ids``, int64 [N + 1].
    """

    ids: Numbers
    offsets: Ints

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Ints:
        """The number of words of each caption, int64 [N]."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> Numbers:
        """The caption of each word, int32 [T]."""
        return np.repeat(np.arange(len(self), dtype=np.int32), self.lengths)


@dataclass(frozen=True)
class Grams:
    """The n-grams of one order, one entry per position.

    Attributes:
        row: The caption of each n-gram, int32 [P].
        gram: The number of each n-gram, int32 [P]; n-grams that the table lacks have numbers from its size on.
        size: The bound of the numbers: all are below it.
    """

    row: Numbers
    gram: Numbers
    size: int


@dataclass(frozen=True)
class Counts:
    """The counts of the n-grams in each caption, sorted by caption and then by the place of the first occurrence.

    The original programs add up the n-grams of a caption in this order, on which the last bit of a sum depends.

    Attributes:
        row: The caption of each entry, int32 [E].
        gram: The number of the n-gram of each entry, int32 [E].
        count: The number of occurrences of the n-gram in the caption, int32 [E], at least 1.
        size: The bound of the numbers of n-grams: all are below it.
    """

    row: Numbers
    gram: Numbers
    count: Numbers
    size: int

    @classmethod
    def of(cls, grams: Grams) -> Counts:
        """Count the n-grams of each caption."""
        size = max(grams.size, 1)
        pairs, first, count = distinct(grams.row * np.int64(size) + grams.gram, places_in_captions(grams.row))
        row, gram = np.divmod(pairs, size)
        order = order_by_place(grams.row, row, first)
        return cls(row[order].astype(np.int32), gram[order].astype(np.int32), count[order].astype(np.int32), grams.size)


def places_in_captions(row: Numbers) -> Ints:
    """Return the place of each n-gram within its caption, int64 [P].

    Args:
        row: The caption of each n-gram, [P], ascending.
    """
    return np.arange(len(row)) - _caption_starts(row)[row]


def order_by_place(rows: Numbers, row: Ints | Numbers, first: Ints | Numbers) -> Ints:
    """Return the permutation that sorts entries by caption and then by place, found without a comparison.

    Args:
        rows: The caption of each n-gram of all captions, [P], ascending.
        row: The caption of each entry, [E].
        first: The place of each entry in its caption, [E]; no two entries of a caption have one place.
    """
    entry = np.full(len(rows), -1, dtype=np.int64)
    entry[_caption_starts(rows)[row] + first] = np.arange(len(row))
    return entry[entry >= 0]


def _caption_starts(row: Numbers) -> Ints:
    """Return the place where the n-grams of each caption start in ``row``, int64 [last caption + 1]."""
    each = np.bincount(row)
    return np.cumsum(each) - each


def distinct(keys: Ints, place: Ints) -> tuple[Ints, Ints, Ints]:
    """Return the distinct keys in ascending order, the lowest place of each, and the count of each.

    Args:
        keys: The keys, int64 [P], not negative.
        place: The place of each key, int64 [P], not negative, ascending among equal keys.
    """
    if not len(keys):
        return keys, place, place
    bits = int(place.max()).bit_length()
    if int(keys.max()) >> (63 - bits):
        found, index, count = np.unique(keys, return_index=True, return_counts=True)
        return found, place[index], count
    # Key and place are packed into one number, which takes half the time of sorting keys and their order.
    both = np.sort(keys << bits | place)
    key = both >> bits
    start = np.flatnonzero(np.diff(key, prepend=-1))
    return key[start], both[start] & ((1 << bits) - 1), np.diff(start, append=len(key))


def split_captions(texts: Sequence[str], separator: str | None = None) -> tuple[list[str], list[int]]:
    """Split tokenized captions into one flat list of words.

    Args:
        texts: The tokenized captions.
        separator: The separator, as in ``str.split``: None splits at any white space, " " at single blanks.

    Returns:
        The words of all captions, and the number of words of each caption.
    """
    pieces = [text.split(separator) for text in texts]
    return list(chain.from_iterable(pieces)), list(map(len, pieces))


def number_words(
    texts: Sequence[str], vocabulary: dict[str, int], *, grow: bool, separator: str | None = None
) -> Words:
    """Return tokenized captions as word numbers.

    Args:
        texts: The N tokenized captions.
        vocabulary: The number of each word.
        grow: If True, unknown words are added to the vocabulary; otherwise they get numbers from its size on, for this
            call alone.
        separator: The separator of words, as in ``str.split``.
    """
    numbers = vocabulary if grow else _ExtendedVocabulary(vocabulary)
    ids, lengths = [np.zeros(0, dtype=np.int32)], [np.zeros(1, dtype=np.int64)]
    for start in range(0, len(texts), BLOCK):
        flat, counts = split_captions(texts[start : start + BLOCK], separator)
        if grow:
            for word in dict.fromkeys(flat):
                numbers.setdefault(word, len(numbers))
        ids.append(np.fromiter(map(numbers.__getitem__, flat), dtype=np.int32, count=len(flat)))
        lengths.append(np.array(counts, dtype=np.int64))
    return Words(np.concatenate(ids), np.cumsum(np.concatenate(lengths)))


class _ExtendedVocabulary(dict[str, int]):
    """A view of a vocabulary that numbers unknown words from its size on and leaves the vocabulary unchanged."""

    def __init__(self, vocabulary: dict[str, int]) -> None:
        super().__init__()
        self._vocabulary = vocabulary
        self._unknown = 0

    def __missing__(self, word: str) -> int:
        number = self._vocabulary.get(word)
        if number is None:
            number = len(self._vocabulary) + self._unknown
            self._unknown += 1
        self[word] = number
        return number


@dataclass(frozen=True)
class NgramTable:
    """The distinct n-grams of a corpus, numbered from 0 in each order.

    Attributes:
        vocabulary: The number of each word.
        keys: The sorted int64 keys of the n-grams of each order from 2 on; the place of a key is the n-gram's number.
    """

    vocabulary: dict[str, int]
    keys: tuple[Ints, ...]

    @property
    def order(self) -> int:
        """The length of the longest n-grams in the table."""
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
            texts: The N tokenized captions.
            order: The length of the longest n-grams.
            count: The function that is applied to the n-grams of each order, whose positions are not kept.

        Returns:
            The table, the captions as word numbers, and the results of ``count``, one per order.
        """
        vocabulary: dict[str, int] = {}
        words = number_words(texts, vocabulary, grow=True)
        grams = Grams(words.rows, words.ids, len(vocabulary))
        counted, keys = [count(grams)], []
        for n in range(2, order + 1):
            row, key = _extend_grams(words, n, grams)
            known, gram = np.unique(key, return_inverse=True)
            grams = Grams(row, gram.astype(np.int32), len(known))
            keys.append(known)
            counted.append(count(grams))
        return cls(vocabulary, tuple(keys)), words, counted

    def encode(self, texts: Sequence[str]) -> Words:
        """Return tokenized captions as word numbers; unknown words get numbers from the vocabulary's size on."""
        return number_words(texts, self.vocabulary, grow=False)

    def grams(self, words: Words) -> Iterator[Grams]:
        """Yield the n-grams of each order; n-grams that the table lacks get numbers from the order's size on."""
        size = max(len(self.vocabulary), int(words.ids.max(initial=-1)) + 1)
        grams = Grams(words.rows, words.ids, size)
        yield grams
        for n, known in enumerate(self.keys, start=2):
            row, key = _extend_grams(words, n, grams)
            grams = Grams(row, *_number_keys(known, key))
            yield grams

    def counts(self, words: Words) -> list[Counts]:
        """Return the counts of each n-gram in each caption, one entry per order."""
        return [Counts.of(g) for g in self.grams(words)]


def _extend_grams(words: Words, n: int, shorter: Grams) -> tuple[Numbers, Ints]:
    """Return the captions and keys of all n-grams, from the (n-1)-grams.

    A caption has an (n-1)-gram at each position but the last n-2, and an n-gram at each position but the last n-1.
    """
    last = np.cumsum(np.maximum(words.lengths - n + 2, 0))[words.lengths >= n - 1] - 1
    keep = np.ones(len(shorter.row), dtype=bool)
    keep[last] = False
    row = shorter.row[keep]
    place = np.arange(len(row)) - _ngram_starts(words, n)[row] + words.offsets[:-1][row]
    return row, shorter.gram[keep] * BASE + words.ids[place + n - 1]


def _ngram_starts(words: Words, n: int) -> Ints:
    """Return the place where the n-grams of each caption start among all n-grams, int64 [N]."""
    each = np.maximum(words.lengths - n + 1, 0)
    return np.cumsum(each) - each


def _number_keys(known: Ints, key: Ints) -> tuple[Numbers, int]:
    """Number keys by their place in a sorted array; keys that are not in it are numbered from its size on.

    Returns:
        The numbers, and the bound that all of them are below.
    """
    place = np.searchsorted(known, key)
    found = np.zeros(len(key), dtype=bool) if not len(known) else known[np.minimum(place, len(known) - 1)] == key
    if found.all():
        return place.astype(np.int32), len(known)
    missing = ~found
    new, inverse = np.unique(key[missing], return_inverse=True)
    place[missing] = len(known) + inverse
    return place.astype(np.int32), len(known) + len(new)
