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
    words = {word: (*word[:-1], f"{word[-1]}</w>") for word in counts}
    pairs: Counter[tuple[str, str]] = Counter()
    holders: dict[tuple[str, str], set[str]] = {}
    for word, parts in words.items():
        for pair in itertools.pairwise(parts):
            pairs[pair] += counts[word]
            holders.setdefault(pair, set()).add(word)
    waiting = [(-count, pair) for pair, count in pairs.items()]
    heapq.heapify(waiting)
    merges: list[tuple[str, str]] = []
    while waiting and (most is None or len(merges) < most):
        count, best = heapq.heappop(waiting)
        if -count != pairs[best]:
            continue  # its count has changed since; the new one waits as well
        if -count < least:
            break
        merges.append(best)
        changed = set()
        for word in holders.pop(best):
            before, after = words[word], _merged(words[word], best)
            for sign, parts in ((-1, before), (1, after)):
                for pair in itertools.pairwise(parts):
                    pairs[pair] += sign * counts[word]
                    changed.add(pair)
                    if sign > 0:
                        holders.setdefault(pair, set()).add(word)
            words[word] = after
        for pair in changed:
            if pairs[pair] > 0:
                heapq.heappush(waiting, (-pairs[pair], pair))
    return merges


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
