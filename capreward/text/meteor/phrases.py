"""The paraphrase table: it finds the phrases of many sentences, and which of them paraphrase each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from capreward.text.meteor.store import Array

Ints = npt.NDArray[np.int64]


# It is a plain tuple, since there are millions, and the garbage collector does not track tuples of numbers alone.
Phrase = tuple[int, int, int]
"""A phrase of the table in a sentence: the position of its first word, its length in words, and its node."""


class Relations(NamedTuple):
    """The rows of the table for the phrases of some candidates and references, each row in the table's order.

    Attributes:
        forward: For each phrase of the references, its paraphrases among the phrases of the candidates.
        backward: For each phrase of the candidates, its paraphrases among the phrases of the references.
    """

    forward: dict[int, tuple[int, ...]]
    backward: dict[int, tuple[int, ...]]


class PhraseTable:
    """The paraphrase table, which holds the arrays of the index by reference.

    Args:
        arrays: The arrays of the index, see :func:`capreward.text.meteor.resources.load_index`.
    """

    def __init__(self, arrays: Mapping[str, Array]) -> None:
        self._edges = arrays["edges"]
        self._entries = arrays["entries"]
        self._vocabulary = len(arrays["words"])
        self._rows = arrays["row_nodes"], arrays["row_starts"], arrays["row_values"]

    def find(self, sentences: Sequence[Sequence[int]]) -> list[tuple[Phrase, ...]]:
        """Find all phrases of the table in each sentence, sorted by position and then by length.

        Args:
            sentences: The numbers of the words in the table, -1 for words that are not in it.
        """
        # The -1 between two sentences keeps a phrase from reaching into the next sentence.
        flat = np.array([number for words in sentences for number in (*words, -1)], dtype=np.int64)
        starts = np.cumsum([0, *(len(words) + 1 for words in sentences)])
        found: list[tuple[Ints, Ints, Ints]] = []
        positions, nodes = np.arange(len(flat)), np.zeros(len(flat), dtype=np.int64)
        for length in range(1, len(flat) + 1):
            words = flat[positions + length - 1]
            inside = words >= 0
            positions, words, nodes = positions[inside], words[inside], nodes[inside]
            keys = nodes * self._vocabulary + words
            at = np.minimum(np.searchsorted(self._edges, keys), len(self._edges) - 1)
            hit = self._edges[at] == keys
            positions, nodes = positions[hit], at[hit] + 1
            if not len(positions):
                break
            whole = self._entries[nodes]
            found.append((positions[whole], np.full(int(whole.sum()), length), nodes[whole]))
        return _split_by_sentence(found, starts)

    def relations(self, references: Ints, candidates: Ints) -> Relations:
        """Find the phrases of references and candidates that paraphrase each other.

        Args:
            references: The distinct nodes of the phrases in the references, sorted.
            candidates: The distinct nodes of the phrases in the candidates, sorted.
        """
        return Relations(self._paraphrases(references, candidates), self._paraphrases(candidates, references))

    def _paraphrases(self, sources: Ints, targets: Ints) -> dict[int, tuple[int, ...]]:
        row_nodes, row_starts, row_values = self._rows
        at = np.minimum(np.searchsorted(row_nodes, sources), len(row_nodes) - 1)
        rows = at[row_nodes[at] == sources]
        starts = row_starts[rows].astype(np.int64)
        counts = row_starts[rows + 1] - starts
        offsets = np.cumsum(counts) - counts
        values = row_values[np.arange(int(counts.sum())) + np.repeat(starts - offsets, counts)]
        wanted = np.zeros(len(self._entries), dtype=np.bool_)
        wanted[targets] = True
        keep = wanted[values]
        owners = np.repeat(row_nodes[rows], counts)[keep]
        values = values[keep].tolist()
        first = np.flatnonzero(np.diff(owners, prepend=-1)).tolist()
        spans = pairwise([*first, len(values)])
        return {
            node: tuple(values[start:end]) for node, (start, end) in zip(owners[first].tolist(), spans, strict=True)
        }


def _split_by_sentence(found: list[tuple[Ints, Ints, Ints]], starts: Ints) -> list[tuple[Phrase, ...]]:
    if not found:
        return [()] * (len(starts) - 1)
    positions, lengths, nodes = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((lengths, positions))
    positions, lengths, nodes = positions[order], lengths[order], nodes[order]
    owner = np.searchsorted(starts, positions, side="right") - 1
    local = (positions - starts[owner]).tolist()
    phrases = list(zip(local, lengths.tolist(), nodes.tolist(), strict=True))
    cuts = np.searchsorted(positions, starts).tolist()
    return [tuple(phrases[start:end]) for start, end in pairwise(cuts)]
