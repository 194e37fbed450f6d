"""A folder of pictures, which are found by id, by file name or by number."""

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
    """Return whether a file name has the ending of a picture, in upper or lower case, and is not hidden."""
    return not name.startswith(".") and "." in name and name.rpartition(".")[2].lower() in ENDINGS


class PictureFolder:
    """The pictures of a folder and its subfolders; hidden files, hidden folders and other files are passed over.

    Args:
        path: The folder.

    Attributes:
        source: The folder as the user wrote it.
        names: The names of the pictures, relative to the folder, with forward slashes, sorted.

    Raises:
        InputError: If there is no such folder, if it cannot be read, or if it has no pictures.
    """

    def __init__(self, path: str | Path) -> None:
        self.source = str(path)
        others: Counter[str] = Counter()
        self.names = sorted(_walk(self.source, others))
        if not self.names:
            raise InputError(_no_pictures_text(self.source, others))

    def __len__(self) -> int:
        return len(self.names)

    def find(self, key: str) -> tuple[str, str] | None:
        """Find the picture of an id.

        The first of these rules that applies is taken:

        - the id is the name of a picture (``train/42.jpg``);
        - the id is such a name without its ending;
        - the id ends in such a name (``/data/train/42.jpg`` finds ``train/42.jpg``);
        - the id is a file name in some subfolder, with or without an ending;
        - the id is the number of a file name (42 and ``COCO_val2014_000000000042.jpg``);
        - the id is the part of a file name before its first dot, as in pacscore.

        Returns:
            The name of the picture and how it was found, or None.

        Raises:
            InputError: If two pictures could be meant.
        """
        if key in self._name_set:
            return key, EXACTLY
        path = key.strip().replace("\\", "/")
        while path:
            if path in self._name_set:
                return path, AS_NAMES
            if path in self._names_without_ending:
                return self._only_name(self._names_without_ending[path], key), AS_NAMES
            path = path.partition("/")[2]
        found = self._ids.find(key)
        if found is None and key in self._before_dot:
            return self._only_name(self._before_dot[key], key), AS_NAMES
        return found

    def picture(self, name: str) -> FilePicture:
        """Return the picture of a name."""
        return FilePicture(os.path.join(self.source, name))

    def _only_name(self, names: list[str], key: str) -> str:
        if len(names) > 1:
            raise InputError(
                f'{self.source} has both "{shown_id(names[0])}" and "{shown_id(names[1])}", and "{shown_id(key)}" '
                "could mean either; write the ids with folder and ending"
            )
        return names[0]

    @cached_property
    def _name_set(self) -> frozenset[str]:
        return frozenset(self.names)

    @cached_property
    def _ids(self) -> IdIndex:
        return IdIndex(self.names, {}, self.source)

    @cached_property
    def _names_without_ending(self) -> dict[str, list[str]]:
        """The names of the pictures by their form without ending."""
        return _group_by_form((name.rpartition(".")[0], name) for name in self.names)

    @cached_property
    def _before_dot(self) -> dict[str, list[str]]:
        """The names of the pictures by their file name up to its first dot."""
        return _group_by_form((name.rpartition("/")[2].partition(".")[0], name) for name in self.names)


def _group_by_form(pairs: Iterator[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for form, name in pairs:
        groups.setdefault(form, []).append(name)
    return groups


def _walk(folder: str, others: Counter[str]) -> Iterator[str]:
    """Yield the names of the pictures, and count the endings of other files; a linked folder is entered only once."""
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


def _no_pictures_text(folder: str, others: Counter[str]) -> str:
    text = f"{folder} has no pictures ({', '.join(sorted(ENDINGS))})"
    if not others:
        return f"{text}; it is empty"
    if others[".tar"]:
        return f"{text}, but {others['.tar']:,} .tar; give shards by name: {os.path.join(folder, 'NAME.tar')}"
    return f"{text}; it holds {shorten([f'{count:,} {kind}' for kind, count in others.most_common()])}"
