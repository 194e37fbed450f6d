"""The arrays of the index of METEOR's data files: paraphrases as a trie of words, synonyms as sorted words and sets."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from capreward.text.meteor.store import Array

Progress = Callable[[int, int], None]
"""A function that is called with the number of bytes read of the paraphrase file, and the size of the file."""

_BLOCK = 1 << 24


class _Numbering(dict[bytes, int]):
    """Gives every new key the next number; ``map(numbering.__getitem__, keys)`` runs at the speed of C."""

    def __missing__(self, key: bytes) -> int:
        number = len(self)
        self[key] = number
        return number


def paraphrase_arrays(path: Path, progress: Progress | None = None) -> dict[str, Array]:
    """Read the paraphrase table, whose lines are triples of probability, phrase and paraphrase.

    Args:
        path: The path of the gzipped table.
        progress: A function that is called with (bytes read, bytes in all).

    Returns:
        ``words`` (sorted, bytes), ``edges`` (sorted ``parent * len(words) + word``; node k is edge k - 1, and node 0 is
        the root), ``entries`` (bool per node: a phrase or paraphrase ends at the node), ``row_nodes`` (sorted phrases),
        and ``row_starts`` and ``row_values`` (the paraphrases of each phrase as nodes, in the table's order).

    Raises:
        ValueError: If the file is no table of triples.
        OSError: If the file is damaged or cannot be read.
    """
    numbering = _Numbering()
    phrases: list[npt.NDArray[np.int32]] = []
    paraphrases: list[npt.NDArray[np.int32]] = []
    for lines in _triples(path, progress):
        phrases.append(np.array(list(map(numbering.__getitem__, lines[1::3])), dtype=np.int32))
        paraphrases.append(np.array(list(map(numbering.__getitem__, lines[2::3])), dtype=np.int32))
    words, edges, nodes = _trie(list(numbering))
    sources, targets = nodes[np.concatenate(phrases)], nodes[np.concatenate(paraphrases)]
    order = np.argsort(sources, kind="stable")
    entries = np.zeros(len(edges) + 1, dtype=np.bool_)
    entries[nodes] = True
    row_nodes, starts = np.unique(sources[order], return_index=True)
    return {
        "words": words,
        "edges": edges,
        "entries": entries,
        "row_nodes": row_nodes.astype(np.int32),
        "row_starts": np.append(starts, len(order)).astype(np.int32),
        "row_values": targets[order].astype(np.int32),
    }


def _triples(path: Path, progress: Progress | None) -> Iterator[list[bytes]]:
    """Yield blocks of whole triples as flat lists of lines."""
    size = path.stat().st_size
    with path.open("rb") as packed, gzip.open(packed) as table:
        lines: list[bytes] = []
        rest = b""
        while block := table.read(_BLOCK):
            *lines, rest = (rest + block).split(b"\n")
            keep = len(lines) // 3 * 3
            yield lines[:keep]
            rest = b"\n".join([*lines[keep:], rest])
            _report_progress(progress, packed, size)
    if rest:
        raise ValueError(f"{path} does not end after a whole triple of lines")


def _report_progress(progress: Progress | None, packed: BinaryIO, size: int) -> None:
    if progress is not None:
        progress(min(packed.tell(), size), size)


def _trie(phrases: list[bytes]) -> tuple[Array, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Number all prefixes of all phrases.

    Returns:
        The sorted words, the sorted edges, and the node of each phrase.
    """
    numbering = _Numbering()
    flat = np.array(list(map(numbering.__getitem__, b" ".join(phrases).split(b" "))), dtype=np.int64)
    lengths = np.array([phrase.count(b" ") + 1 for phrase in phrases], dtype=np.int64)
    words = np.array(list(numbering))
    by_name = np.argsort(words)
    rank = np.empty_like(by_name)
    rank[by_name] = np.arange(len(words))
    flat = rank[flat]
    starts = np.cumsum(lengths) - lengths
    nodes = np.zeros(len(phrases), dtype=np.int64)
    levels: list[npt.NDArray[np.int64]] = []
    count = 1
    # Parents of deeper levels have larger numbers, so sorting each level sorts all edges.
    for depth in range(int(lengths.max())):
        alive = np.flatnonzero(lengths > depth)
        keys = nodes[alive] * len(words) + flat[starts[alive] + depth]
        level, inverse = np.unique(keys, return_inverse=True)
        nodes[alive] = inverse + count
        count += len(level)
        levels.append(level)
    return words[by_name], np.concatenate(levels), nodes


def synonym_arrays(synsets: str, exceptions: str) -> dict[str, Array]:
    """Index the synonym sets by word and by irregular form.

    Entries with an underscore are phrases; they are left out, since no token holds an underscore.

    Args:
        synsets: The text of the synonym sets, in pairs of lines: a word, and its synset numbers.
        exceptions: The text of the exceptions, in pairs of lines: a base, and its irregular forms.

    Returns:
        The arrays ``*_words`` (sorted bytes), ``*_starts`` and ``*_values`` (synset numbers), each for ``synonym`` and
        for ``exception``.
    """
    lines = synsets.splitlines()
    sets = {word: {int(n) for n in numbers.split()} for word, numbers in zip(lines[::2], lines[1::2], strict=True)}
    forms: dict[str, set[int]] = {}
    lines = exceptions.splitlines()
    for base, irregular in zip(lines[::2], lines[1::2], strict=True):
        for form in irregular.split():
            forms.setdefault(form, set()).update(sets.get(base, ()))
    return {**_set_arrays("synonym", sets), **_set_arrays("exception", forms)}


def _set_arrays(name: str, sets: dict[str, set[int]]) -> dict[str, Array]:
    encoded = sorted((word.encode(), sorted(numbers)) for word, numbers in sets.items() if "_" not in word)
    starts = np.cumsum([0, *(len(numbers) for _, numbers in encoded)])
    return {
        f"{name}_words": np.array([word for word, _ in encoded], dtype=np.bytes_),
        f"{name}_starts": starts.astype(np.int32),
        f"{name}_values": np.array(list(chain.from_iterable(numbers for _, numbers in encoded)), dtype=np.int32),
    }
