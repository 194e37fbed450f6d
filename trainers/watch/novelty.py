"""How much of what a captioner says stands in its training captions: whole captions and phrases, kept as hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError

if TYPE_CHECKING:
    from capreward.text.tokenizers import Tokenizer
    from trainers.data import Dataset

Floats = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]

PHRASE = 4  # words
MOST = 1 << 23  # hashes of a set: 64 MB
BLOCK = 20_000  # captions hashed at a time
_ODD = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)
_BITS = 64


@dataclass(frozen=True)
class HashSet:
    """A set of 64-bit hashes in bounded memory.

    Where there are too many, those whose first bits are not all 0 are forgotten, and whether they were in the set is
    not known: shares are then estimated from the others, a fair sample of all.

    Attributes:
        kept: uint64, sorted.
        level: leading bits that are 0 in all hashes that are kept; 0 where the set is whole.
    """

    kept: Hashes
    level: int = 0

    @classmethod
    def of(cls, blocks: Iterable[Hashes], most: int = MOST) -> HashSet:
        """The set of all hashes of the blocks, of which ``most`` are kept at most."""
        kept, level = np.zeros(0, dtype=np.uint64), 0
        waiting: list[Hashes] = []
        for block in blocks:
            waiting.append(np.unique(_known(block, level)))
            if sum(map(len, waiting)) > len(kept) // 2 + BLOCK:  # so that sorting all again stays rare
                kept, waiting = np.unique(np.concatenate([kept, *waiting])), []
            while len(kept) > most:
                level += 1
                kept = _known(kept, level)
        kept = np.unique(np.concatenate([kept, *(_known(block, level) for block in waiting)]))
        while len(kept) > most:
            level += 1
            kept = _known(kept, level)
        return cls(kept, level)

    def lacks(self, hashes: Hashes) -> Floats:
        """1 for a hash that is not in the set, 0 for one that is, NaN where it is not known: float64 [N]."""
        found = np.full(len(hashes), np.nan)
        sure = np.ones(len(hashes), dtype=bool) if not self.level else _leading(hashes, self.level) == 0
        place = np.searchsorted(self.kept, hashes[sure])
        there = np.zeros(len(place), dtype=bool)
        inside = place < len(self.kept)
        there[inside] = self.kept[place[inside]] == hashes[sure][inside]
        found[sure] = ~there
        return found


def _leading(hashes: Hashes, level: int) -> Hashes:
    return np.asarray(hashes >> np.uint64(_BITS - level), dtype=np.uint64)


def _known(hashes: Hashes, level: int) -> Hashes:
    return hashes if not level else hashes[_leading(hashes, level) == 0]


class Novelty:
    """The captions and four-word phrases of a training set.

    Words are compared as the tokenizer gives them: lower case, no punctuation.

    Args:
        captions: hashes of whole captions.
        phrases: hashes of their phrases.
        tokenizer: that they were made with; ``ptb`` by default.
    """

    def __init__(self, captions: HashSet, phrases: HashSet, tokenizer: Tokenizer | None = None) -> None:
        self.captions = captions
        self.phrases = phrases
        self._hasher = _Hasher(tokenizer)

    @classmethod
    def of(cls, captions: Iterable[str], *, most: int = MOST, tokenizer: Tokenizer | None = None) -> Novelty:
        """Count captions.

        Args:
            captions: of the training set.
            most: hashes kept of each kind.
            tokenizer: ``ptb`` by default.
        """
        hasher = _Hasher(tokenizer)
        whole: list[Hashes] = []

        def phrases() -> Iterator[Hashes]:
            for block in _blocks(captions):
                own, found, _ = hasher(block)
                whole.append(own)
                yield found

        kept = HashSet.of(phrases(), most)
        return cls(HashSet.of(whole, most), kept, tokenizer)

    def measure(self, texts: Sequence[str]) -> dict[str, Floats]:
        """What is new in N captions, each float64 [N].

        Returns:
            ``novel``: 1 for a caption that no training caption equals, else 0; ``novel_phrases``: the share of its
            four-word phrases that none has, NaN where it has fewer words. NaN, too, where it is not known.
        """
        own, found, row = self._hasher(texts)
        lacks = self.phrases.lacks(found)
        sure = ~np.isnan(lacks)
        total = np.bincount(row[sure], minlength=len(texts))
        new = np.bincount(row[sure], weights=lacks[sure], minlength=len(texts))
        share = np.divide(new, total, out=np.full(len(texts), np.nan), where=total > 0)
        return {"novel": self.captions.lacks(own), "novel_phrases": share}

    def save(self, path: Path) -> None:
        """Write it.

        Raises:
            InputError: it cannot be written.
        """
        from capreward.atomic_files import write_beside

        arrays: dict[str, Any] = {
            "captions": self.captions.kept,
            "phrases": self.phrases.kept,
            "levels": np.array([self.captions.level, self.phrases.level]),
        }

        def fill(beside: Path) -> None:
            with beside.open("wb") as stream:
                np.savez(stream, **arrays)

        write_beside(path, fill)

    @classmethod
    def read(cls, path: Path) -> Novelty:
        """Read what ``save`` wrote.

        Raises:
            InputError: it cannot be read.
        """
        try:
            with np.load(path, allow_pickle=False) as found:
                levels = [int(level) for level in found["levels"]]
                return cls(HashSet(found["captions"], levels[0]), HashSet(found["phrases"], levels[1]))
        except (OSError, ValueError, KeyError, IndexError, EOFError) as error:
            raise InputError(f"{path} cannot be read; remove it to have the captions counted again") from error


def training_novelty(dataset: Dataset, folder: Path | None, items: int | None) -> Novelty:
    """Count the captions of a training set, once per run.

    Args:
        dataset: the training items.
        folder: of the run, where the hashes are kept; None to keep nothing.
        items: so many of them at most, evenly spaced; None for all.

    Raises:
        InputError: a stream, whose items have no numbers; or a file that cannot be read or written.
    """
    count = len(dataset)
    step = 1 if items is None else max(1, -(-count // items))
    path = None if folder is None else folder / f"training-phrases-{dataset.fingerprint()}-{step}.npz"
    if path is not None and path.exists():
        return Novelty.read(path)
    found = Novelty.of(caption for i in range(0, count, step) for caption in dataset.captions(i))
    if path is not None:
        found.save(path)
    return found


class _Hasher:
    """Captions to hashes of the whole and of each phrase; words are hashed once each."""

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        from capreward.text.tokenizers import tokenizer_of

        self._tokenizer = tokenizer_of("ptb") if tokenizer is None else tokenizer

    def __call__(self, captions: Sequence[str]) -> tuple[Hashes, Hashes, npt.NDArray[np.int64]]:
        """Hashes of N captions, of their P phrases, and the caption of each phrase."""
        texts = self._tokenizer(captions)
        words = [text.split() for text in texts]
        known = {word: _digest(word) for word in {word for line in words for word in line}}
        flat = np.fromiter((known[word] for line in words for word in line), dtype=np.uint64)
        lengths = np.fromiter(map(len, words), dtype=np.int64, count=len(words))
        whole = np.fromiter((_digest(" ".join(line)) for line in words), dtype=np.uint64, count=len(words))
        each = np.maximum(lengths - PHRASE + 1, 0)
        row = np.repeat(np.arange(len(words)), each)
        place = np.arange(len(row)) - (np.cumsum(each) - each)[row] + (np.cumsum(lengths) - lengths)[row]
        mixed = np.zeros(len(row), dtype=np.uint64)
        for n in range(PHRASE):
            mixed = (mixed ^ flat[place + n]) * _ODD
            mixed ^= mixed >> _SHIFT
        return whole, mixed, row


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _blocks(captions: Iterable[str]) -> Iterator[list[str]]:
    block: list[str] = []
    for caption in captions:
        block.append(caption)
        if len(block) == BLOCK:
            yield block
            block = []
    if block:
        yield block
