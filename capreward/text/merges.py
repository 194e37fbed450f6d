"""A byte-level BPE vocabulary in the layout of CLIP's, learnt from a small language."""

from __future__ import annotations

import gzip
import heapq
import itertools
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

WORD = re.compile(r"[^\W\d_]+|\d|[^\s\w]+")


def learn_merges(texts: Iterable[str], *, least: int = 2, most: int | None = None) -> list[tuple[str, str]]:
    """The merges, most frequent pair first, until no pair occurs ``least`` times in the words of the texts.

    Ties go to the pair that sorts first, so that the same texts give the same merges (Sennrich et al. 2016).

    Args:
        texts: captions.
        least: occurrences of a pair that is merged.
        most: merges at most; all by default.
    """
    counts = Counter(word for text in texts for word in WORD.findall(text.lower()))
    table = _Pairs(counts)
    merges: list[tuple[str, str]] = []
    while most is None or len(merges) < most:
        best = table.best(least)
        if best is None:
            break
        merges.append(best)
        table.merge(best)
    return merges


class _Pairs:
    """How often each pair of neighbours occurs, kept up to date while pairs are merged."""

    def __init__(self, counts: Counter[str]) -> None:
        self.counts = counts
        self.words = {word: (*word[:-1], f"{word[-1]}</w>") for word in counts}
        self.pairs: Counter[tuple[str, str]] = Counter()
        self.holders: dict[tuple[str, str], set[str]] = {}
        for word in counts:
            self._add(word, 1)
        self.waiting = [(-count, pair) for pair, count in self.pairs.items()]
        heapq.heapify(self.waiting)

    def best(self, least: int) -> tuple[str, str] | None:
        while self.waiting:
            count, pair = heapq.heappop(self.waiting)
            if -count == self.pairs[pair]:  # else its count has changed since, and the new one waits as well
                return pair if -count >= least else None
        return None

    def merge(self, best: tuple[str, str]) -> None:
        changed: set[tuple[str, str]] = set()
        for word in self.holders.pop(best):
            changed |= self._add(word, -1)
            self.words[word] = _merged(self.words[word], best)
            changed |= self._add(word, 1)
        for pair in changed:
            if self.pairs[pair] > 0:
                heapq.heappush(self.waiting, (-self.pairs[pair], pair))

    def _add(self, word: str, sign: int) -> set[tuple[str, str]]:
        found = list(itertools.pairwise(self.words[word]))
        for pair in found:
            self.pairs[pair] += sign * self.counts[word]
            if sign > 0:
                self.holders.setdefault(pair, set()).add(word)
            elif pair in self.holders:
                self.holders[pair].discard(word)
        return set(found)


def write_merges(path: Path, merges: list[tuple[str, str]]) -> int:
    """Write the file that open_clip's ``SimpleTokenizer`` reads; the same merges give the same bytes.

    Returns:
        The size of the vocabulary: bytes, bytes at a word's end, merges, start and end token.
    """
    text = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in merges)])  # a last line feed would be a merge
    with path.open("wb") as file, gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
        packed.write(text.encode())
    return 2 * 256 + len(merges) + 2


def _merged(parts: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    joined: list[str] = []
    for part in parts:
        if joined and (joined[-1], part) == pair:
            joined[-1] += part
        else:
            joined.append(part)
    return tuple(joined)
