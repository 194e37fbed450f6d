"""A folder of pictures, found by id, by name or by number."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from capreward.data.image_ids import AS_NAMES, EXACTLY, IdIndex
from capreward.data.images.pictures import FilePicture
from capreward.data.rows import shown_id
from capreward.errors import InputError, shorten

ENDINGS = frozenset({"jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "jp2", "j2k", "jpx", "jpf"})


def is_picture_name(name: str) -> bool:
    """Whether a file's name ends as a picture's does, in any case, and is not hidden."""
    return not name.startswith(".") and "." in name and name.rpartition(".")[2].lower() in ENDINGS


class PictureFolder:
    """The pictures of a folder and its subfolders; hidden files and folders and everything else are passed over.

    Args:
        path: the folder.

    Attributes:
        source: the folder as the user wrote it.
        names: of the pictures, relative to the folder, with forward slashes, sorted.

    Raises:
        InputError: no folder, one that cannot be read, or one without pictures.
    """

    def __init__(self, path: str | Path) -> None:
        self.source = str(path)
        others: Counter[str] = Counter()
        self.names = sorted(_walk(self.source, others))
        if not self.names:
            raise InputError(_nothing(self.source, others))

    def __len__(self) -> int:
        return len(self.names)

    def find(self, key: str) -> tuple[str, str] | None:
        """Find the picture of an id.

        The first that applies: the id is a picture's name (``train/42.jpg``); it is one without its ending; it ends in
        one (``/data/train/42.jpg`` finds ``train/42.jpg``); it is a file name in some subfolder, with or without an
        ending; it is a number that the file name stands for (42 and ``COCO_val2014_000000000042.jpg``); it is the part
        of a file name before its first dot, as pacscore has it.

        Returns:
            The picture's name and how it was found, or None.

        Raises:
            InputError: two pictures could be meant.
        """
        if key in self._known:
            return key, EXACTLY
        path = key.strip().replace("\\", "/")
        while path:
            if path in self._known:
                return path, AS_NAMES
            if path in self._bare:
                return self._one(self._bare[path], key), AS_NAMES
            path = path.partition("/")[2]
        found = self._ids.find(key)
        if found is None and key in self._before_dot:
            return self._one(self._before_dot[key], key), AS_NAMES
        return found

    def picture(self, name: str) -> FilePicture:
        """The picture of that name."""
        return FilePicture(os.path.join(self.source, name))

    def _one(self, names: list[str], key: str) -> str:
        if len(names) > 1:
            raise InputError(
                f'{self.source} has both "{shown_id(names[0])}" and "{shown_id(names[1])}", and "{shown_id(key)}" '
                "could mean either; write the ids with folder and ending"
            )
        return names[0]

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _ids(self) -> IdIndex:
        return IdIndex(self.names, {}, self.source)

    @cached_property
    def _bare(self) -> dict[str, list[str]]:
        """The names without their endings."""
        return _grouped((name.rpartition(".")[0], name) for name in self.names)

    @cached_property
    def _before_dot(self) -> dict[str, list[str]]:
        """The file names up to their first dot."""
        return _grouped((name.rpartition("/")[2].partition(".")[0], name) for name in self.names)


def _grouped(pairs: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for form, name in pairs:
        groups.setdefault(form, []).append(name)
    return groups


def _walk(folder: str, others: Counter[str]) -> Iterator[str]:
    """Yield the names of the pictures, and count the endings of other files; linked folders are entered once."""
    waiting, entered = [""], set()
    while waiting:
        inside = waiting.pop()
        try:
            path = os.path.join(folder, inside)
            state = os.stat(path)
            if (state.st_dev, state.st_ino) in entered:
                continue
            entered.add((state.st_dev, state.st_ino))
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir():
                        waiting.append(f"{inside}{entry.name}/")
                    elif is_picture_name(entry.name):
                        yield inside + entry.name
                    else:
                        others[os.path.splitext(entry.name)[1].lower() or entry.name] += 1
        except OSError as error:
            raise InputError(f"the folder {os.path.join(folder, inside)} cannot be read: {error.strerror}") from error


def _nothing(folder: str, others: Counter[str]) -> str:
    text = f"{folder} has no pictures ({', '.join(sorted(ENDINGS))})"
    if not others:
        return f"{text}; it is empty"
    if others[".tar"]:
        return f"{text}, but {others['.tar']:,} .tar; give shards by name: {os.path.join(folder, 'NAME.tar')}"
    return f"{text}; it holds {shorten([f'{count:,} {kind}' for kind, count in others.most_common()])}"
