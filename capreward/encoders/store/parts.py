"""The parts of a feature store: each is a safetensors file with features and their keys, mapped into memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from capreward.encoders.store.header import StoreHeader
from capreward.errors import InputError

PATTERN = "part-*.safetensors"
CODES = {"float32": ("F32", "<f4"), "float16": ("F16", "<f2")}


@dataclass(frozen=True)
class Part:
    """One file of features.

    Attributes:
        path: The file.
        keys: The keys of the n features, in order.
        texts: The embedded texts in a text store; None in a picture store.
        features: The features [n, *shape], float32 or float16, mapped: only the rows that are read are loaded.
    """

    path: Path
    keys: list[str]
    texts: list[str] | None
    features: npt.NDArray[Any]


def write_part(
    path: Path,
    header: StoreHeader,
    keys: Sequence[str],
    features: npt.NDArray[Any],
    texts: Sequence[str] | None,
) -> None:
    """Write ``features`` [n, *shape] and ``keys`` [n] into one safetensors file, which any reader opens.

    Raises:
        InputError: The disk is full or refuses the file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    metadata = {"store": header.digest, "keys": json.dumps(list(keys), ensure_ascii=False)}
    if texts is not None:
        metadata["texts"] = json.dumps(list(texts), ensure_ascii=False)
    try:
        save_file({"features": np.ascontiguousarray(features, dtype=header.dtype)}, path, metadata=metadata)
    except SafetensorError as error:  # safetensors raises it in place of the OSError
        raise InputError(f"cannot write a part of {path.parent}: {error}") from error


def read_part(path: Path, header: StoreHeader) -> Part:
    """Map a part into memory, reading its keys alone.

    Raises:
        InputError: The file is incomplete, of another format, or from another store.
    """
    code, dtype = CODES[header.dtype]
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            found = json.loads(file.read(length)) if length < size else {}
        metadata, entry = found["__metadata__"], found["features"]
        keys = json.loads(metadata["keys"])
        texts = json.loads(metadata["texts"]) if "texts" in metadata else None
        shape = (len(keys), *header.shape)
        start = 8 + length
        complete = entry["data_offsets"] == [0, size - start] and size - start == prod(shape) * np.dtype(dtype).itemsize
        fits = tuple(entry["shape"]) == shape and entry["dtype"] == code and len(texts or keys) == len(keys) > 0
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged_error(path) from error
    if metadata.get("store") != header.digest:
        raise InputError(f"{path} is a part of another store: its encoder is not that of {path.parent}; move it away")
    if not (complete and fits):
        raise _damaged_error(path)
    # asarray: np.memmap's own bookkeeping would slow every later slice down.
    return Part(path, keys, texts, np.asarray(np.memmap(path, dtype, mode="r", offset=start, shape=shape)))


def _damaged_error(path: Path) -> InputError:
    return InputError(f"{path} is damaged or incomplete; delete it and run the same capreward embed again")
