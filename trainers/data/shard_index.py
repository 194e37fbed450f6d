"""The index of a shard, and its stored copy, so that the headers of the shard are read once."""

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
    """The N complete samples of a shard, in its order, and the problems of other samples.

    Attributes:
        keys: The keys of the samples.
        names: The member names of the pictures.
        captions: For each sample the JSON list of its captions.
        places: The first byte and the size of each picture, int64 [N, 2].
        problems: For each kind of problem, the keys or sentences of what was left out.
    """

    keys: Texts
    names: Texts
    captions: Texts
    places: npt.NDArray[np.int64]
    problems: Mapping[str, list[str]]

    def __len__(self) -> int:
        return len(self.places)


def read_index(path: str, caption_columns: tuple[str, ...]) -> ShardRecord | None:
    """Read the stored index of a shard; None if there is none, or if the shard has another size or time of change."""
    index_path = _index_path(path, caption_columns)
    if index_path is None:
        return None
    try:
        with np.load(index_path, allow_pickle=False) as file:
            keys, names, captions = (
                Texts(file[f"{n}.block"].tobytes(), file[f"{n}.ends"]) for n in ("keys", "names", "captions")
            )
            problems = json.loads(file["problems"].tobytes())
            return ShardRecord(keys, names, captions, file["places"], problems)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # not there, or damaged: the shard itself says it again


def write_index(path: str, caption_columns: tuple[str, ...], record: ShardRecord) -> None:
    """Store the index of a shard.

    If the cache folder cannot be written, the next opening is slow again, but no worse.
    """
    index_path = _index_path(path, caption_columns)
    if index_path is None:
        return
    arrays = {"places": record.places, "problems": _bytes(json.dumps(record.problems).encode())}
    for name in ("keys", "names", "captions"):
        texts: Texts = getattr(record, name)
        arrays |= {f"{name}.block": _bytes(texts.block), f"{name}.ends": texts.ends}

    def write(beside: Path) -> None:
        with beside.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle

    with contextlib.suppress(OSError, InputError):
        index_path.parent.mkdir(parents=True, exist_ok=True)
        write_beside(index_path, write)


def _index_path(path: str, caption_columns: tuple[str, ...]) -> Path | None:
    try:
        state = os.stat(path)
    except OSError:
        return None
    what = [FORMAT, os.path.realpath(path), state.st_size, state.st_mtime_ns, list(caption_columns)]
    name = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:32]
    return cache_folder() / "shards" / f"{name}.npz"


def _bytes(data: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data, dtype=np.uint8)
