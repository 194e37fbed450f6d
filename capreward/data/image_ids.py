"""The comparison of image ids: 42, ``000000000042`` and ``images/COCO_val2014_000000000042.jpg`` mean one image."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property

from capreward.data.rows import shown_id
from capreward.errors import InputError

_ENDINGS = """jpg jpeg png gif bmp tif tiff webp avif jp2 j2k jpx jpf heic heif mp4 avi webm mkv mov flv m4v wav mp3
flac ogg m4a"""
MEDIA_ENDINGS = frozenset(_ENDINGS.split())
IMAGE_ENDINGS = re.compile(rf"\.(?:{'|'.join(sorted(MEDIA_ENDINGS))})$", re.IGNORECASE)
COCO_NAME = re.compile(r"(?:^|_)COCO_(?:train|val|test)20\d\d_(\d{12})$")

EXACTLY = "exactly"
AS_NAMES = "as file names"
AS_NUMBERS = "as numbers"


def stem(key: str) -> str:
    """Return the id without folders and without the ending of a picture file."""
    name = key.strip().replace("\\", "/").rstrip("/").rpartition("/")[2]
    return IMAGE_ENDINGS.sub("", name) or name


def id_number(key: str) -> str | None:
    """Return the number that an id means, without leading zeros, or None if it is no number and no COCO file name.

    The ``.0`` that pandas appends does not count either.
    """
    name = stem(key)
    coco = COCO_NAME.search(name)
    digits = coco[1] if coco else name.removesuffix(".0")
    return (digits.lstrip("0") or "0") if digits.isascii() and digits.isdigit() else None


class IdIndex:
    """Finds the ids of one file in the forms in which another file may write them.

    Args:
        keys: The ids, as the file writes them.
        aliases: Other names of ids, ``{name: id}``, such as the file names that COCO lists beside them.
        source: The file, for messages.
    """

    def __init__(self, keys: Iterable[str], aliases: Mapping[str, str], source: str) -> None:
        self._keys = dict.fromkeys(keys)
        self._aliases = {alias: key for alias, key in aliases.items() if key in self._keys}
        self._source = source

    def find(self, key: str) -> tuple[str, str] | None:
        """Look an id up: first as it is written, then as a file name, then as a number.

        Returns:
            The id as this file writes it, and how it was found: ``EXACTLY``, ``AS_NAMES`` or ``AS_NUMBERS``. None if it
            is not found.

        Raises:
            InputError: If two different ids of this file could be meant.
        """
        if key in self._keys:
            return key, EXACTLY
        named = self._aliases.get(key)
        if named is not None:
            return named, AS_NAMES
        digits = id_number(key)
        for forms, form, how in ((self._stems, stem(key), AS_NAMES), (self._numbers, digits, AS_NUMBERS)):
            found = forms.get(form, []) if form is not None else []
            if len(found) > 1:
                raise InputError(
                    f'{self._source} has both "{shown_id(found[0])}" and "{shown_id(found[1])}", and "{shown_id(key)}" '
                    "could mean either; write the ids of both files one way"
                )
            if found:
                return found[0], how
        return None

    def find_by_alias(self, key: str) -> str | None:
        """Return the one id whose other name (a file name) means ``key``; None if there is none or more than one."""
        for form, forms in ((stem(key), self._alias_stems), (id_number(key), self._alias_numbers)):
            found = forms.get(form, []) if form is not None else []
            if len(found) == 1:
                return found[0]
        return None

    @cached_property
    def _alias_stems(self) -> dict[str, list[str]]:
        forms: dict[str, list[str]] = {}
        for name, key in self._aliases.items():
            _add_form(forms, stem(name), key)
        return forms

    @cached_property
    def _alias_numbers(self) -> dict[str, list[str]]:
        forms: dict[str, list[str]] = {}
        for name, key in self._aliases.items():
            if (digits := id_number(name)) is not None:
                _add_form(forms, digits, key)
        return forms

    @cached_property
    def _stems(self) -> dict[str, list[str]]:
        forms: dict[str, list[str]] = {}
        for name, key in self._names():
            _add_form(forms, stem(name), key)
        return forms

    @cached_property
    def _numbers(self) -> dict[str, list[str]]:
        forms: dict[str, list[str]] = {}
        for name, key in self._names():
            digits = id_number(name)
            if digits is not None:
                _add_form(forms, digits, key)
        return forms

    def _names(self) -> Iterable[tuple[str, str]]:
        yield from zip(self._keys, self._keys, strict=True)
        yield from self._aliases.items()


def _add_form(forms: dict[str, list[str]], form: str, key: str) -> None:
    known = forms.setdefault(form, [])
    if key not in known:
        known.append(key)
