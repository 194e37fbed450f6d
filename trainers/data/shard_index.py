"""The index of a shard, and the copy of it that is kept so that the shard's headers are read once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capreward.atomic_files import cache_folder, write_beside
from capreward.errors import InputError
from trainers.data.packed_texts import Texts

FORMAT = 1  # of the kept files: another one wherever what is indexed changes


@dataclass(frozen=True, eq=False)
class ShardRecord:
    """The N whole samples of a shard, in its order, and what was wrong with others.

    Attributes:
        keys: of the samples.
        names: of the pictures' members.
        captions: per sample the JSON list of its captions.
        places: int64 [N, 2], first byte and size of each picture.
        problems: by kind, the keys or sentences of what was left out.
    """

    keys: Texts
    names: Texts
    captions: Texts
    places: npt.NDArray[np.int64]
    problems: Mapping[str, list[str]]

    def __len__(self) -> int:
        return len(self.places)


def recall(path: str, caption_columns: tuple[str, ...]) -> ShardRecord | None:
    """The kept index of a shard; None where there is none, or the shard is another by size or time of change."""
    kept = _kept(path, caption_columns)
    if kept is None:
        return None
    try:
        with np.load(kept, allow_pickle=False) as file:
            keys, names, captions = (
                Texts(file[f"{n}.block"].tobytes(), file[f"{n}.ends"]) for n in ("keys", "names", "captions")
            )
            problems = json.loads(file["problems"].tobytes())
            return ShardRecord(keys, names, captions, file["places"], problems)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # not there, or damaged: the shard itself says it again


def remember(path: str, caption_columns: tuple[str, ...], record: ShardRecord) -> None:
    """Keep the index of a shard; where the cache folder cannot be written, opening is slow again and no worse."""
    kept = _kept(path, caption_columns)
    if kept is None:
        return
    arrays = {"places": record.places, "problems": _bytes(json.dumps(record.problems).encode())}
    for name in ("keys", "names", "captions"):
        texts: Texts = getattr(record, name)
        arrays |= {f"{name}.block": _bytes(texts.block), f"{name}.ends": texts.ends}

    def write(beside: Path) -> None:
        with beside.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle

    with contextlib.suppress(OSError, InputError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_beside(kept, write)


def _kept(path: str, caption_columns: tuple[str, ...]) -> Path | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    what = [FORMAT, os.path.realpath(path), state.st_size, state.st_mtime_ns, list(caption_columns)]
    name = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
    return cache_folder() / "shards" / f"{name}.npz"


def _bytes(data: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, dtype=np.uint8)
