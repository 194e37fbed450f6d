"""The header ``store.json``: it describes the features of a store and tells whether two sets of features may mix."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capreward.errors import InputError

FORMAT = 1  # the version of store.json and of the parts
NAME = "store.json"
KINDS = ("image", "text")
DTYPES = ("float32", "float16")
WORDS: Mapping[str, str] = {"act": "activation", "prep": "preprocessing", "prec": "precision"}


@dataclass(frozen=True)
class StoreHeader:
    """The description of the features of a store.

    Attributes:
        kind: The kind of the features, ``image`` or ``text``.
        encoder: The properties that change a feature, as ``Encoder.fields()`` returns them.
        shape: The shape of one feature, ``(512,)`` for CLIP ViT-B/32.
        dtype: The type of the files' numbers, ``float32`` or ``float16``; reading always gives float32.
        sha256: The full SHA-256 of the encoder's weights file; empty if unknown.
        prompt: The prompt that was put before each text.
    """

    kind: str
    encoder: Mapping[str, str]
    shape: tuple[int, ...]
    dtype: str = "float32"
    sha256: str = ""
    prompt: str = ""

    @property
    def digest(self) -> str:
        """The first 16 hex digits of the SHA-256 of the header; every part holds it, which keeps foreign parts out."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        fields = {"kind": self.kind, "encoder": dict(self.encoder), "sha256": self.sha256, "prompt": self.prompt}
        return {"format": FORMAT, **fields, "shape": list(self.shape), "dtype": self.dtype}

    def write(self, path: Path) -> None:
        """Write ``store.json`` in readable form, one field per line."""
        path.write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> StoreHeader:
        """Read a store's ``store.json``.

        Raises:
            InputError: The file is missing or damaged, or a later version of capreward wrote it.
        """
        path = folder / NAME
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            what = f"has no {NAME}: it is no feature store" if folder.is_dir() else "does not exist"
            raise InputError(f"{folder} {what}; make one with `capreward embed IMAGES -o {folder}`") from None
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
        except ValueError as error:
            raise InputError(f"{path} is damaged (no JSON); embed into a new folder") from error
        version = found.get("format") if isinstance(found, dict) else None
        if isinstance(version, int) and version > FORMAT:
            raise InputError(f"{folder} has store format {version}, this capreward reads {FORMAT}; upgrade capreward")
        try:
            header = cls(
                found["kind"],
                plain_fields(found["encoder"]),
                tuple(int(n) for n in found["shape"]),
                found["dtype"],
                str(found["sha256"]),
                str(found["prompt"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path} is damaged ({type(error).__name__}: {error}); embed into a new folder") from error
        if (
            version != FORMAT
            or header.kind not in KINDS
            or header.dtype not in DTYPES
            or min(header.shape, default=0) < 1
        ):
            raise InputError(f"{path} describes no feature store; embed into a new folder")
        return header

    def difference(self, encoder: Mapping[str, object], ignore: Collection[str] = ()) -> str:
        """Return the field in which another encoder differs from this store's; empty if features would be the same.

        Weights of one hash are the same under any file name, and no text depends on how pictures are prepared.
        """
        other = plain_fields(encoder)
        different = [n for n in {**self.encoder, **other} if self.encoder.get(n) != other.get(n) and n not in ignore]
        if "sha" in different:
            return "sha"
        if self.encoder.get("sha") is not None:
            different = [n for n in different if n != "model"]
        if self.kind == "text":
            different = [n for n in different if n != "prep"]
        return next(iter(different), "")


def plain_fields(fields: Mapping[str, object]) -> dict[str, str]:
    """Return fields as text, as a signature shows them; fields that are None are left out."""
    return {str(k): str(v) for k, v in fields.items() if v is not None}


def field_text(fields: Mapping[str, object], name: str) -> str:
    """Return a field for a message: the model with its hash, or the field's name and value."""
    known = plain_fields(fields)
    if name in ("sha", "model"):
        return f"{known.get('model', 'an unnamed model')} (sha {known.get('sha', 'unknown')})"
    return f"{WORDS.get(name, name)} {known.get(name, 'not stated')}"
