"""The verification of training shards: it reads every header, decodes every picture and parses every caption."""

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
    """The content of shards, and what is wrong with it.

    Attributes:
        shards: The number of shards.
        samples: The number of samples, counted by their keys.
        pictures: The number of pictures that can be decoded.
        captions: The number of captions that can be read and are not empty.
        damaged: One sentence for each thing that is wrong.
    """

    shards: int = 0
    samples: int = 0
    pictures: int = 0
    captions: int = 0
    damaged: list[str] = field(default_factory=list)


def verify(paths: Sequence[str], progress: Callable[[str, float, float], None] | None = None) -> Verification:
    """Verify shards; a damaged shard does not stop the verification of the others.

    Args:
        paths: The paths of the shards.
        progress: A function that is called as (what, done, total).
    """
    result = Verification()
    sizes = [os.path.getsize(path) if os.path.isfile(path) else 0 for path in paths]
    owners: dict[str, str] = {}
    for number, path in enumerate(paths):
        result.shards += 1
        kinds: dict[str, dict[str, bytes]] = {}
        try:
            for member, stream in each_member(path):
                stream.seek(member.offset_data)
                _check_member(path, member.name, member.offset_data, stream.read(member.size), kinds, result)
                if progress is not None:
                    progress(path, sum(sizes[:number]) + member.offset_data, sum(sizes))
            if not _ends(path):
                result.damaged.append(f"{path} lacks the zeros at the end of a tar file: it may be cut short")
        except InputError as error:
            result.damaged.append(str(error))
        _check_samples(path, kinds, owners, result)
    return result


def _ends(path: str) -> bool:
    """Return whether a tar file has its end mark; without it, a file that is cut between two members looks complete."""
    with open(path, "rb") as stream:
        stream.seek(max(os.path.getsize(path) - END, 0))
        return stream.read() == bytes(END)


def _check_member(
    path: str, name: str, offset: int, data: bytes, kinds: dict[str, dict[str, bytes]], result: Verification
) -> None:
    key, _, ending = PurePosixPath(name).name.partition(".")
    ending = ending.lower()
    parts = kinds.setdefault(key, {})
    if ending in ENDINGS:
        if "picture" in parts:
            result.damaged.append(f"{name} in {path} is a second picture of the sample {key}")
        parts["picture"] = b""
        try:
            ShardPicture(path, offset, len(data), name).open()
            result.pictures += 1
        except InputError as error:
            result.damaged.append(str(error))
    elif ending in ("txt", "json"):
        if ending in parts:
            result.damaged.append(f"{name} in {path} is a second .{ending} of the sample {key}")
        parts[ending] = data


def _check_samples(path: str, kinds: dict[str, dict[str, bytes]], owners: dict[str, str], result: Verification) -> None:
    for key, parts in kinds.items():
        result.samples += 1
        where = f"the sample {key} in {path}"
        if owners.setdefault(key, path) != path:
            result.damaged.append(f"{where} is also in {owners[key]}")
        if "picture" not in parts:
            result.damaged.append(f"{where} has no picture")
        caption_parts = {kind: data for kind, data in parts.items() if kind != "picture"}
        if not caption_parts:
            result.damaged.append(f"{where} has no .txt or .json")
            continue
        try:
            captions = captions_of(caption_parts, key, where, Options(references=True))
        except InputError as error:
            result.damaged.append(str(error))
            continue
        blank = sum(not caption.strip() for caption in captions)
        result.captions += len(captions) - blank
        if blank or not captions:
            result.damaged.append(f"{where} has {'an empty caption' if blank else 'no caption'}")
