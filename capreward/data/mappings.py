"""Captions and references given in Python, brought into the shape that files are read into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capreward.data.captions import CaptionTable, References
from capreward.errors import InputError


def as_table(captions: Any) -> CaptionTable:
    """A mapping from image to its caption (or captions) as a caption table.

    Raises:
        InputError: not a mapping, or a caption that is not a string.
    """
    if not isinstance(captions, Mapping):
        raise InputError("references are named by image, so captions must be too: give a mapping {image: caption}")
    keys, texts = [], []
    for key, value in captions.items():
        for text in [value] if isinstance(value, str) else _strings(value, f"captions[{key!r}]"):
            keys.append(str(key))
            texts.append(text)
    return CaptionTable("captions", "mapping", keys, texts, range(1, len(keys) + 1), unit="caption")


def as_references(references: Any) -> References:
    """A mapping from image to its references as references read from a file.

    Raises:
        InputError: not a mapping, or a reference that is not a string.
    """
    if not isinstance(references, Mapping):
        raise InputError("captions are named by image, so references must be too: give a mapping {image: [references]}")
    if len({str(k) for k in references}) < len(references):
        twice = next(str(k) for k in references if not isinstance(k, str) and str(k) in references)
        raise InputError(f"references have the image {twice} twice, as a text and as another key; write keys one way")
    known = {str(k): [v] if isinstance(v, str) else _strings(v, f"references[{k!r}]") for k, v in references.items()}
    return References("references", "mapping", known)


def _strings(value: Any, where: str) -> list[str]:
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{where} is {value!r} ({type(value).__name__}); it must be a string or a list of strings")
    for text in value:
        if not isinstance(text, str):
            raise InputError(f"{where} holds {text!r} ({type(text).__name__}); every caption must be a string")
    return list(value)
