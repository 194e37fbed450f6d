"""The novelty of captions: the share of whole captions and phrases that no training caption has, by their hashes."""

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

    If there are too many hashes, only those whose first bits are all 0 are kept. Whether the others were in the set is
    not known: shares are then estimated from the kept ones, a fair sample of all.

    Attributes:
        hashes: The sorted hashes, uint64.
        level: The number of leading bits that are 0 in all kept hashes; 0 if the set is complete.
    """

    hashes: Hashes
    level: int = 0

    @classmethod
    def of(cls, blocks: Iterable[Hashes], most: int = MOST) -> HashSet:
        """Make the set of all hashes of the blocks, and keep ``most`` of them at most."""
        hashes, level = np.zeros(0, dtype=np.uint64), 0
        waiting: list[Hashes] = []
        for block in blocks:
            waiting.append(np.unique(_at_level(block, level)))
            if sum(map(len, waiting)) > len(hashes) // 2 + BLOCK:  # so that sorting all again stays rare
                hashes, waiting = np.unique(np.concatenate([hashes, *waiting])), []
            while len(hashes) > most:
                level += 1
                hashes = _at_level(hashes, level)
        hashes = np.unique(np.concatenate([hashes, *(_at_level(block, level) for block in waiting)]))
        while len(hashes) > most:
            level += 1
            hashes = _at_level(hashes, level)
        return cls(hashes, level)

    def lacks(self, wanted: Hashes) -> Floats:
        """Return 1 for a hash that is not in the set, 0 for one that is, NaN if it is not known: float64 [N]."""
        missing = np.full(len(wanted), np.nan)
        known = np.ones(len(wanted), dtype=bool) if not self.level else _leading(wanted, self.level) == 0
        place = np.searchsorted(self.hashes, wanted[known])
        there = np.zeros(len(place), dtype=bool)
        inside = place < len(self.hashes)
        there[inside] = self.hashes[place[inside]] == wanted[known][inside]
        missing[known] = ~there
        return missing


def _leading(hashes: Hashes, level: int) -> Hashes:
    return np.asarray(hashes >> np.uint64(_BITS - level), dtype=np.uint64)


def _at_level(hashes: Hashes, level: int) -> Hashes:
    return hashes if not level else hashes[_leading(hashes, level) == 0]


class Novelty:
    """The captions and four-word phrases of a training set.

    Words are compared in the form of the tokenizer: lower case, no punctuation.

    Args:
        captions: The hashes of whole captions.
        phrases: The hashes of their phrases.
        tokenizer: The tokenizer that they were made with; ``ptb`` by default.
    """

    def __init__(self, captions: HashSet, phrases: HashSet, tokenizer: Tokenizer | None = None) -> None:
        self.captions = captions
        self.phrases = phrases
        self._hasher = _Hasher(tokenizer)

    @classmethod
    def of(cls, captions: Iterable[str], *, most: int = MOST, tokenizer: Tokenizer | None = None) -> Novelty:
        """Hash the captions of a training set.

        Args:
            captions: The captions of the training set.
            most: The greatest number of hashes of each kind.
            tokenizer: The tokenizer; ``ptb`` by default.
        """
        hasher = _Hasher(tokenizer)
        whole: list[Hashes] = []

        def phrases() -> Iterator[Hashes]:
            for block in _blocks(captions):
                captions_of_block, phrases_of_block, _ = hasher(block)
                whole.append(captions_of_block)
                yield phrases_of_block

        phrase_set = HashSet.of(phrases(), most)
        return cls(HashSet.of(whole, most), phrase_set, tokenizer)

    def measure(self, texts: Sequence[str]) -> dict[str, Floats]:
        """Measure what is new in N captions, each float64 [N].

        Returns:
            ``novel``: 1 for a caption that no training caption equals, else 0. ``novel_phrases``: the share of its
            four-word phrases that no training caption has, NaN if it has fewer words. Both are NaN if the value is not
            known.
        """
        whole, phrases, row = self._hasher(texts)
        lacks = self.phrases.lacks(phrases)
        known = ~np.isnan(lacks)
        total = np.bincount(row[known], minlength=len(texts))
        new = np.bincount(row[known], weights=lacks[known], minlength=len(texts))
        share = np.divide(new, total, out=np.full(len(texts), np.nan), where=total > 0)
        return {"novel": self.captions.lacks(whole), "novel_phrases": share}

    def save(self, path: Path) -> None:
        """Write the hashes to a file.

        Raises:
            InputError: The file cannot be written.
        """
        from capreward.atomic_files import write_beside

        arrays: dict[str, Any] = {
            "captions": self.captions.hashes,
            "phrases": self.phrases.hashes,
            "levels": np.array([self.captions.level, self.phrases.level]),
        }

        def fill(beside: Path) -> None:
            with beside.open("wb") as stream:
                np.savez(stream, **arrays)

        write_beside(path, fill)

    @classmethod
    def read(cls, path: Path) -> Novelty:
        """Read a file that ``save`` wrote.

        Raises:
            InputError: The file cannot be read.
        """
        try:
            with np.load(path, allow_pickle=False) as arrays:
                levels = [int(level) for level in arrays["levels"]]
                return cls(HashSet(arrays["captions"], levels[0]), HashSet(arrays["phrases"], levels[1]))
        except (OSError, ValueError, KeyError, IndexError, EOFError) as error:
            raise InputError(f"{path} cannot be read; remove it to have the captions counted again") from error


def training_novelty(dataset: Dataset, folder: Path | None, items: int | None) -> Novelty:
    """Hash the captions of a training set, once per run.

    Args:
        dataset: The training items.
        folder: The folder of the run, where the hashes are stored; None to store nothing.
        items: The greatest number of items to count, evenly spaced; None for all.

    Raises:
        InputError: The dataset is a stream, whose items have no numbers; or a file cannot be read or written.
    """
    count = len(dataset)
    step = 1 if items is None else max(1, -(-count // items))
    path = None if folder is None else folder / f"training-phrases-{dataset.fingerprint()}-{step}.npz"
    if path is not None and path.exists():
        return Novelty.read(path)
    novelty = Novelty.of(caption for i in range(0, count, step) for caption in dataset.captions(i))
    if path is not None:
        novelty.save(path)
    return novelty


class _Hasher:
    """A hasher of whole captions and of each of their phrases; each word is hashed once."""

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        from capreward.text.tokenizers import tokenizer_of

        self._tokenizer = tokenizer_of("ptb") if tokenizer is None else tokenizer

    def __call__(self, captions: Sequence[str]) -> tuple[Hashes, Hashes, npt.NDArray[np.int64]]:
        """Return the hashes of N captions, the hashes of their P phrases, and the caption of each phrase."""
        texts = self._tokenizer(captions)
        words = [text.split() for text in texts]
        digests = {word: _digest(word) for word in {word for line in words for word in line}}
        flat = np.fromiter((digests[word] for line in words for word in line), dtype=np.uint64)
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
