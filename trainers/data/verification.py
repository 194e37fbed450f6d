"""Looking through training shards: every header read, every picture decoded, every caption parsed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from capreward.data.images.folder import ENDINGS
from capreward.data.images.pictures import ShardPicture
from capreward.data.images.shards import each_member
from capreward.data.rows import Options
from capreward.errors import InputError
from trainers.data.shards import captions_of

END = 1024  # zero bytes that end a tar file


@dataclass
class Verification:
    """What shards hold.

    Attributes:
        shards: looked through.
        samples: keys.
        pictures: that can be decoded.
        captions: that can be read and say something.
        damaged: one sentence for each thing that is wrong.
    """

    shards: int = 0
    samples: int = 0
    pictures: int = 0
    captions: int = 0
    damaged: list[str] = field(default_factory=list)


def verify(paths: Sequence[str], progress: Callable[[str, float, float], None] | None = None) -> Verification:
    """Look through shards; a damaged one does not keep the others from being looked at.

    Args:
        paths: of the shards.
        progress: called as (what, done, total).
    """
    found = Verification()
    sizes = [os.path.getsize(path) if os.path.isfile(path) else 0 for path in paths]
    owners: dict[str, str] = {}
    for number, path in enumerate(paths):
        found.shards += 1
        kinds: dict[str, dict[str, bytes]] = {}
        try:
            for member, stream in each_member(path):
                stream.seek(member.offset_data)
                _look(path, member.name, member.offset_data, stream.read(member.size), kinds, found)
                if progress is not None:
                    progress(path, sum(sizes[:number]) + member.offset_data, sum(sizes))
            if not _ends(path):
                found.damaged.append(f"{path} lacks the zeros at the end of a tar file: it may be cut short")
        except InputError as error:
            found.damaged.append(str(error))
        _judge(path, kinds, owners, found)
    return found


def _ends(path: str) -> bool:
    """Whether a tar file has its end mark; one that is cut between two members looks whole otherwise."""
    with open(path, "rb") as stream:
        stream.seek(max(os.path.getsize(path) - END, 0))
        return stream.read() == bytes(END)


def _look(
    path: str, name: str, offset: int, data: bytes, kinds: dict[str, dict[str, bytes]], found: Verification
) -> None:
    key, _, ending = PurePosixPath(name).name.partition(".")
    ending = ending.lower()
    parts = kinds.setdefault(key, {})
    if ending in ENDINGS:
        if "picture" in parts:
            found.damaged.append(f"{name} in {path} is a second picture of the sample {key}")
        parts["picture"] = b""
        try:
            ShardPicture(path, offset, len(data), name).open()
            found.pictures += 1
        except InputError as error:
            found.damaged.append(str(error))
    elif ending in ("txt", "json"):
        if ending in parts:
            found.damaged.append(f"{name} in {path} is a second .{ending} of the sample {key}")
        parts[ending] = data


def _judge(path: str, kinds: dict[str, dict[str, bytes]], owners: dict[str, str], found: Verification) -> None:
    for key, parts in kinds.items():
        found.samples += 1
        where = f"the sample {key} in {path}"
        if owners.setdefault(key, path) != path:
            found.damaged.append(f"{where} is also in {owners[key]}")
        if "picture" not in parts:
            found.damaged.append(f"{where} has no picture")
        said = {kind: data for kind, data in parts.items() if kind != "picture"}
        if not said:
            found.damaged.append(f"{where} has no .txt or .json")
            continue
        try:
            captions = captions_of(said, key, where, Options(references=True))
        except InputError as error:
            found.damaged.append(str(error))
            continue
        blank = sum(not caption.strip() for caption in captions)
        found.captions += len(captions) - blank
        if blank or not captions:
            found.damaged.append(f"{where} has {'an empty caption' if blank else 'no caption'}")
