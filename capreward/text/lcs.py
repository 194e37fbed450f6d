"""Longest common subsequences of many pairs at once, by bit parallelism (Hyyrö 2004)."""

from __future__ import annotations

import numpy as np

from capreward.text.corpus import Pairs
from capreward.text.ngrams import Ints, Numbers, Words

BITS = 64
BLOCK = 1 << 20  # words of padded captions that are held in memory at a time


def lcs_lengths(left: Words, right: Words, pairs: Pairs) -> Ints:
    """Return the length of the longest common subsequence of each pair of captions.

    Args:
        left: The left captions as word numbers.
        right: The right captions as word numbers, in the same numbering.
        pairs: The pairs: ``row`` is the left caption and ``reference`` the right one.

    Returns:
        The lengths, int64 [P].
    """
    lengths = np.zeros(len(pairs.row), dtype=np.int64)
    left_lengths, right_lengths = left.lengths[pairs.row], right.lengths[pairs.reference]
    short = right_lengths <= BITS
    order = np.lexsort((right_lengths, left_lengths))
    order = order[short[order]]
    for some in _blocks(order, left_lengths):
        lengths[some] = _bit_parallel(left, right, pairs.row[some], pairs.reference[some])
    for one in np.flatnonzero(~short):
        lengths[one] = _lcs_of_one_pair(
            _words_of_caption(left, pairs.row[one]), _words_of_caption(right, pairs.reference[one])
        )
    return lengths


def _blocks(order: Ints, lengths: Ints) -> list[Ints]:
    """Cut pairs, which are sorted by length, into blocks whose size after padding is bounded."""
    blocks, start = [], 0
    while start < len(order):
        stop = min(len(order), start + max(1, BLOCK // max(1, int(lengths[order[start]]))))
        stop = min(stop, start + max(1, BLOCK // max(1, int(lengths[order[stop - 1]]))))
        blocks.append(order[start:stop])
        start = stop
    return blocks


def _bit_parallel(left: Words, right: Words, left_row: Ints, right_row: Ints) -> Ints:
    by_length = np.argsort(-right.lengths[right_row], kind="stable")
    left_row, right_row = left_row[by_length], right_row[by_length]
    columns = _pad_captions(left, left_row, -1)  # [longest left, P]: one contiguous row per step
    right_lengths = right.lengths[right_row]
    masks = np.zeros(columns.shape, dtype=np.uint64)
    for place in range(int(right_lengths[0]) if len(right_lengths) else 0):
        having = int(np.searchsorted(-right_lengths, -place, side="left"))
        word = right.ids[right.offsets[right_row[:having]] + place]
        masks[:, :having] |= (columns[:, :having] == word).astype(np.uint64) << np.uint64(place)
    vector = np.full(len(left_row), ~np.uint64(0))
    for mask in masks:
        matched = vector & mask
        vector = (vector + matched) | (vector - matched)
    used = ~np.uint64(0) >> (BITS - np.maximum(right_lengths, 1)).astype(np.uint64)  # bits of the right caption's words
    lengths = np.empty(len(left_row), dtype=np.int64)
    lengths[by_length] = np.bitwise_count(~vector & used)
    return lengths


def _pad_captions(words: Words, rows: Ints, fill: int) -> Numbers:
    lengths = words.lengths[rows]
    width = int(lengths.max(initial=0))
    place = np.arange(width)[:, None]
    inside = place < lengths
    index = np.minimum(words.offsets[rows] + place, max(len(words.ids) - 1, 0))
    return (
        np.where(inside, words.ids[index], np.int32(fill))
        if len(words.ids)
        else np.full((width, len(rows)), fill, dtype=np.int32)
    )


def _words_of_caption(words: Words, row: int) -> list[int]:
    found: list[int] = words.ids[words.offsets[row] : words.offsets[row + 1]].tolist()
    return found


def _lcs_of_one_pair(left: list[int], right: list[int]) -> int:
    """Apply the same recurrence to one pair, with a whole number as the bit vector, for captions of any length."""
    masks: dict[int, int] = {}
    for place, word in enumerate(right):
        masks[word] = masks.get(word, 0) | 1 << place
    full = (1 << len(right)) - 1
    vector = full
    for word in left:
        matched = vector & masks.get(word, 0)
        vector = ((vector + matched) | (vector - matched)) & full
    return len(right) - vector.bit_count()
