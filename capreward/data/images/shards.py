"""The index of the pictures in WebDataset shards, whose places are read from the tar headers alone."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from capreward.data.file_content import error_line
from capreward.data.image_ids import IdIndex
from capreward.data.images.folder import ENDINGS
from capreward.data.images.pictures import ShardPicture
from capreward.data.shards import expand_braces
from capreward.errors import InputError, shorten

ZIPPED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


def names_shards(source: str) -> bool:
    """Return whether a source names tar files, plain or compressed, one file or a brace pattern."""
    return source.lower().endswith((".tar", *ZIPPED))


class ShardIndex:
    """The pictures of uncompressed tar files by key: the base name up to its first dot, as in WebDataset.

    A member is a picture if the text after that dot is the ending of a picture file, so ``42.mask.png`` is none.

    Args:
        source: A tar file, or a brace pattern such as ``test-{000..007}.tar``.

    Attributes:
        source: The file or the pattern, as the user wrote it.
        pictures: The picture of each key.

    Raises:
        InputError: If a file is missing, damaged or compressed, if a key repeats, or if there are no pictures.
    """

    def __init__(self, source: str | Path) -> None:
        self.source = str(source)
        self.pictures: dict[str, ShardPicture] = {}
        others: dict[str, None] = {}
        for path in expand_braces(self.source):
            self._read_shard(path, others)
        if not self.pictures:
            held = f"; members end in {shorten(list(others))}" if others else ""
            raise InputError(f"{self.source} has no pictures ({', '.join(sorted(ENDINGS))}){held}")
        self._ids = IdIndex(self.pictures, {}, self.source)

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def names(self) -> list[str]:
        """The keys of the pictures."""
        return list(self.pictures)

    def find(self, key: str) -> tuple[str, str] | None:
        """Find the key that an id means: as it is written, as a file name, or as a number.

        Returns:
            The key and how it was found, or None.

        Raises:
            InputError: If two pictures could be meant.
        """
        return self._ids.find(key)

    def picture(self, name: str) -> ShardPicture:
        """Return the picture of a key."""
        return self.pictures[name]

    def _read_shard(self, path: Path, others: dict[str, None]) -> None:
        shard = str(path)
        for member, _ in each_member(shard):
            key, _, ending = PurePosixPath(member.name).name.partition(".")
            if ending.lower() in ENDINGS:
                self._add_picture(key, ShardPicture(shard, member.offset_data, member.size, member.name))
            else:
                others[f".{ending}"] = None

    def _add_picture(self, key: str, picture: ShardPicture) -> None:
        other = self.pictures.setdefault(key, picture)
        if other is not picture:
            raise InputError(
                f"{other} and {picture} have the same key {key}; keys must differ across shards and folders"
            )


def each_member(shard: str) -> Iterator[tuple[tarfile.TarInfo, IO[bytes]]]:
    """Yield the members of an uncompressed tar file that are files and are not hidden.

    Args:
        shard: The path of the tar file.

    Yields:
        The member, and the stream of the whole tar file, in which the caller may seek.

    Raises:
        InputError: If the file is missing, damaged or compressed.
    """
    if shard.lower().endswith(ZIPPED):
        raise InputError(f"{shard} is compressed, and pictures are read from their places in a tar; unpack it first")
    last = ""
    try:
        with open(shard, "rb") as stream, tarfile.open(fileobj=stream, mode="r:", encoding="utf-8") as archive:
            for member in archive:
                if member.isreg() and not PurePosixPath(member.name).name.startswith("."):
                    yield member, stream
                last = member.name
            # tarfile stops at a header that it cannot parse; the true end of the archive is zeros or the file's end.
            stream.seek(archive.offset)
            if stream.read(512).strip(b"\0"):
                raise tarfile.ReadError(f"no header at byte {archive.offset:,}")
    except tarfile.TarError as error:
        raise InputError(_damaged_shard_text(shard, error, last)) from error
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"the shard {shard} cannot be read: {reason}") from error


def _damaged_shard_text(shard: str, error: tarfile.TarError, last: str) -> str:
    with open(shard, "rb") as stream:
        zipped = stream.read(2) in (b"\x1f\x8b", b"BZ", b"\xfd7", b"\x28\xb5")
    if zipped:
        return f"{shard} is compressed, and pictures are read from their places in a tar; unpack it first"
    size = os.path.getsize(shard)
    place = f", the last member being {last}" if last else ""
    return f"{shard} ({size:,} bytes) is no whole tar file: {error_line(error)}{place}; write or copy it again"
