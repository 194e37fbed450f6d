"""Conversion of captions and references that are given in Python into the tables that files are read into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capreward.data.captions import CaptionTable, References
from capreward.errors import InputError


def as_table(captions: Any) -> CaptionTable:
    """Convert a mapping from image to its caption (or captions) to a caption table.

    Raises:
        InputError: If ``captions`` is not a mapping, or if a caption is not a string.
    """
    if not isinstance(captions, Mapping):
        raise InputError("references are named by image, so captions must be too: give a mapping {image: caption}")
    keys, texts = [], []
    for key, value in captions.items():
        for text in [value] if isinstance(value, str) else _checked_strings(value, f"captions[{key!r}]"):
            keys.append(str(key))
            texts.append(text)
    return CaptionTable("captions", "mapping", keys, texts, range(1, len(keys) + 1), unit="caption")


def as_references(references: Any) -> References:
    """Convert a mapping from image to its references to references as they are read from a file.

    Raises:
        InputError: If ``references`` is not a mapping, or if a reference is not a string.
    """
    if not isinstance(references, Mapping):
        raise InputError("captions are named by image, so references must be too: give a mapping {image: [references]}")
    if len({str(k) for k in references}) < len(references):
        twice = next(str(k) for k in references if not isinstance(k, str) and str(k) in references)
        raise InputError(f"references have the image {twice} twice, as a text and as another key; write keys one way")
    known = {
        str(k): [v] if isinstance(v, str) else _checked_strings(v, f"references[{k!r}]") for k, v in references.items()
    }
    return References("references", "mapping", known)


def _checked_strings(value: Any, where: str) -> list[str]:
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{where} is {value!r} ({type(value).__name__}); it must be a string or a list of strings")
    for text in value:
        if not isinstance(text, str):
            raise InputError(f"{where} holds {text!r} ({type(text).__name__}); every caption must be a string")
    return list(value)
