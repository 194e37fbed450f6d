"""Many strings in one block of memory, which workers share instead of copying string by string."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Texts:
    """N strings, each decoded when it is read.

    Attributes:
        block: The UTF-8 bytes of all strings, one after the other.
        ends: The end of each string, int64 [N].
    """

    block: bytes
    ends: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, i: int) -> str:
        start = int(self.ends[i - 1]) if i else 0
        return self.block[start : int(self.ends[i])].decode()

    @staticmethod
    def of(texts: Iterable[str]) -> Texts:
        """Pack strings."""
        encoded = [text.encode() for text in texts]
        lengths = np.fromiter((len(text) for text in encoded), dtype=np.int64, count=len(encoded))
        return Texts(b"".join(encoded), np.cumsum(lengths, dtype=np.int64))

    @staticmethod
    def joined(parts: Sequence[Texts]) -> Texts:
        """Join packed strings, one after the other."""
        starts = np.cumsum([0, *(len(part.block) for part in parts)])
        ends = [part.ends + start for part, start in zip(parts, starts[:-1], strict=True)]
        return Texts(b"".join(part.block for part in parts), np.concatenate([np.empty(0, np.int64), *ends]))

    def first(self, count: int) -> Texts:
        """Return the first ``count`` strings."""
        end = int(self.ends[count - 1]) if count else 0
        return Texts(self.block[:end], self.ends[:count])


@dataclass(frozen=True, eq=False)
class PackedCaptions(Sequence[tuple[str, ...]]):
    """The packed captions of N items.

    Attributes:
        texts: For each item the JSON list of its captions.
    """

    texts: Texts

    @staticmethod
    def of(captions: Iterable[Sequence[str]]) -> PackedCaptions:
        """Pack the captions of each item."""
        return PackedCaptions(Texts.of(as_json(each) for each in captions))

    def __len__(self) -> int:
        return len(self.texts)

    @overload
    def __getitem__(self, i: int) -> tuple[str, ...]: ...
    @overload
    def __getitem__(self, i: slice) -> Sequence[tuple[str, ...]]: ...
    def __getitem__(self, i: int | slice) -> tuple[str, ...] | Sequence[tuple[str, ...]]:
        """Return the captions of an item."""
        if isinstance(i, slice):
            return [self[n] for n in range(*i.indices(len(self)))]
        return tuple(json.loads(self.texts[i]))


def as_json(captions: Sequence[str]) -> str:
    """Return the one JSON form of an item's captions, so that equal captions have equal bytes."""
    return json.dumps(list(captions), ensure_ascii=False)
