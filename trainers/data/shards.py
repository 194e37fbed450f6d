"""WebDataset shards as training data, with an index of the place of each picture and its captions."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import IO

import numpy as np
import numpy.typing as npt

from capreward.data.formats.tar_files import caption_value
from capreward.data.images.folder import ENDINGS
from capreward.data.images.pictures import ShardPicture
from capreward.data.images.shards import each_member
from capreward.data.rows import Checker, Options
from capreward.errors import InputError, shorten
from trainers.data.dataset import Dataset, blank_notes, counted
from trainers.data.packed_texts import PackedCaptions, Texts, as_json
from trainers.data.shard_index import ShardRecord, read_index, write_index

WORTH_KEEPING = 500  # samples of a shard whose index is read faster than the shard's headers


class ShardPictures:
    """The pictures of several shards, by number.

    Args:
        paths: The paths of the shards.
        counts: The number of samples in each shard.
        names: The member names of the pictures.
        places: The first byte and the size of each picture, int64 [N, 2].
    """

    def __init__(
        self, paths: Sequence[str], counts: Sequence[int], names: Texts, places: npt.NDArray[np.int64]
    ) -> None:
        self.paths = list(paths)
        self.names = names
        self.places = places
        self._ends = np.cumsum(counts)

    def __getitem__(self, i: int) -> ShardPicture:
        shard = int(np.searchsorted(self._ends, i, side="right"))
        offset, size = self.places[i].tolist()
        return ShardPicture(self.paths[shard], offset, size, self.names[i])


def open_shards(source: str, paths: Sequence[str], caption_column: str | Sequence[str] | None = None) -> Dataset:
    """Open uncompressed tar files whose samples are a picture with a ``.json`` or a ``.txt`` of the same name.

    A sample's key is the file name up to its first dot. A ``.json`` holds a list of captions, one caption, or an object
    with a column of them, and wins over a ``.txt``, which holds one. Other members of a sample are ignored. A sample
    without a picture, without a caption, or with unreadable captions is left out and named in the notes.

    Args:
        source: The source as the user named it.
        paths: The paths of the shards.
        caption_column: The caption column of JSON objects, if it has no usual name.

    Raises:
        InputError: A shard is missing, damaged or compressed, a key repeats, or there is no sample at all.
    """
    options = Options(references=True, caption_column=caption_column)
    records = [_index_of(path, options) for path in paths]
    keys = [record.keys[i] for record in records for i in range(len(record))]
    if not keys:
        raise InputError(_no_sample_message(source, records))
    _refuse_repeated(keys, paths, [len(record) for record in records])
    names = Texts.joined([record.names for record in records])
    places = np.concatenate([record.places for record in records])
    captions = PackedCaptions(Texts.joined([record.captions for record in records]))
    pictures = ShardPictures(paths, [len(record) for record in records], names, places)
    return Dataset(source, keys, pictures, captions, list(_notes(records)))


def _index_of(path: str, options: Options) -> ShardRecord:
    """Return the index of a shard, from the cache if it is there."""
    stored = read_index(path, options.caption_columns)
    if stored is not None:
        return stored
    record = _build_index(path, options)
    if len(record) >= WORTH_KEEPING:
        write_index(path, options.caption_columns, record)
    return record


def _build_index(path: str, options: Options) -> ShardRecord:
    samples: dict[str, _Sample] = {}
    others: dict[str, None] = {}
    for member, stream in each_member(path):
        key, _, ending = PurePosixPath(member.name).name.partition(".")
        ending = ending.lower()
        if ending in ENDINGS:
            samples.setdefault(key, _Sample()).add_picture(path, member)
        elif ending in ("txt", "json"):
            samples.setdefault(key, _Sample()).add_captions(path, member, ending, stream)
        else:
            others[f".{ending}"] = None
    return _shard_record(path, samples, options, list(others))


class _Sample:
    """The members of a shard that have the same key."""

    def __init__(self) -> None:
        self.picture: ShardPicture | None = None
        self.parts: dict[str, bytes] = {}

    def add_picture(self, path: str, member: tarfile.TarInfo) -> None:
        if self.picture is not None:
            raise InputError(
                f"{path}: {self.picture.name} and {member.name} are two pictures of one sample; keys must differ"
            )
        self.picture = ShardPicture(path, member.offset_data, member.size, member.name)

    def add_captions(self, path: str, member: tarfile.TarInfo, kind: str, stream: IO[bytes]) -> None:
        if kind in self.parts:
            raise InputError(f"{path}: {member.name} is the second .{kind} of one sample; keys must differ")
        stream.seek(member.offset_data)
        self.parts[kind] = stream.read(member.size)


def captions_of(parts: dict[str, bytes], key: str, where: str, options: Options) -> list[str]:
    """Return the checked captions of a sample, empty ones included.

    Raises:
        InputError: The captions cannot be read.
    """
    return Checker(where, "sample").captions(caption_value(parts, where, options), key, 1)


def _shard_record(path: str, samples: dict[str, _Sample], options: Options, others: list[str]) -> ShardRecord:
    keys, names, captions, places = [], [], [], []
    problems: dict[str, list[str]] = {"others": others, "blank": [], "bare": [], "mute": [], "unseen": [], "odd": []}
    for key, sample in samples.items():
        if sample.picture is None or not sample.parts:
            problems["unseen" if sample.picture is None else "mute"].append(key)
            continue
        try:
            of_sample = captions_of(sample.parts, key, f"{path}, sample {key}", options)
        except InputError as error:
            problems["odd"].append(str(error))
            continue
        nonempty = [caption for caption in of_sample if caption.strip()]
        problems["blank"] += [key] * (len(of_sample) - len(nonempty))
        if not nonempty:
            problems["bare"].append(key)
            continue
        keys.append(key)
        names.append(sample.picture.name)
        captions.append(as_json(nonempty))
        places.append((sample.picture.offset, sample.picture.size))
    table = np.array(places, dtype=np.int64).reshape(-1, 2)
    return ShardRecord(Texts.of(keys), Texts.of(names), Texts.of(captions), table, problems)


def _problems(records: Sequence[ShardRecord], kind: str) -> list[str]:
    return [name for record in records for name in record.problems[kind]]


def _notes(records: Sequence[ShardRecord]) -> Iterator[str]:
    yield from blank_notes(len(_problems(records, "blank")), _problems(records, "bare"))
    for kind, lack in (("mute", "no .txt or .json"), ("unseen", "no picture"), ("odd", "captions that are unreadable")):
        keys = _problems(records, kind)
        if keys:
            have = "has" if len(keys) == 1 else "have"
            yield f"{counted(len(keys), 'sample')} left out, which {have} {lack}: {shorten(keys)}"


def _no_sample_message(source: str, records: Sequence[ShardRecord]) -> str:
    if _problems(records, "mute") and not any(_problems(records, kind) for kind in ("bare", "unseen", "odd")):
        return f"{source} holds pictures alone; give the file of their captions, and {source} as --images"
    why = "; ".join(_notes(records))
    others = list(dict.fromkeys(_problems(records, "others")))
    held = f"; other members end in {shorten(others)}" if others else ""
    return (
        f"{source} has no sample of a picture with captions (.jpg with .txt or .json){': ' if why else ''}{why}{held}"
    )


def _refuse_repeated(keys: list[str], paths: Sequence[str], counts: Sequence[int]) -> None:
    if len(set(keys)) == len(keys):
        return
    firsts: dict[str, int] = {}
    ends = np.cumsum(counts)
    for i, key in enumerate(keys):
        first = firsts.setdefault(key, i)
        if first != i:
            one, other = (os.fspath(paths[int(np.searchsorted(ends, n, side="right"))]) for n in (first, i))
            raise InputError(f"the sample {key} is in {one} and again in {other}; keys must differ across shards")
