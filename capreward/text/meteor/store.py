"""A file of named arrays, which is written as a whole or not at all, is read without copying, and is checked first."""

from __future__ import annotations

import json
import os
import secrets
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# The layout: magic, crc32 of all that follows, length of the header, JSON header, the bytes of the arrays.
_MAGIC = b"CRWDARR1"
_PREFIX = len(_MAGIC) + 16
_ALIGNMENT = 64


class CorruptStoreError(ValueError):
    """The file is no complete array store and has to be built again."""


def save_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays beside ``path`` and move the file into place, so that nobody reads a half-written file.

    Args:
        path: The file to create or replace; its folder is created.
        arrays: The arrays by their names, with any dtypes but object.

    Raises:
        OSError: If the folder cannot be written.
    """
    layout: dict[str, Any] = {}
    body: list[bytes] = []
    position = 0
    for name, array in arrays.items():
        data = array.tobytes()
        padding = bytes(-len(data) % _ALIGNMENT)
        layout[name] = {"dtype": array.dtype.str, "shape": array.shape, "start": position, "bytes": len(data)}
        body += (data, padding)
        position += len(data) + len(padding)
    header = json.dumps(layout).encode()
    header += b" " * (-(_PREFIX + len(header)) % _ALIGNMENT)
    parts = [len(header).to_bytes(8, "little"), header, *body]
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    path.parent.mkdir(parents=True, exist_ok=True)
    # tempfile.mkstemp is not used, since its files are private, and users may share a cache folder.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.writelines([_MAGIC, crc.to_bytes(8, "little"), *parts])
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load_arrays(path: Path) -> dict[str, Array]:
    """Map a store into memory; the arrays are read-only views of the file.

    Raises:
        FileNotFoundError: If there is no such file.
        CorruptStoreError: If the file is cut short or changed, or if it is no store.
    """
    if path.stat().st_size < _PREFIX:
        raise CorruptStoreError(f"{path} is too short")
    # asarray removes the class np.memmap, whose bookkeeping would slow every later slice down.
    raw = np.asarray(np.memmap(path, dtype=np.uint8, mode="r"))
    fixed = raw[:_PREFIX].tobytes()
    checked = len(_MAGIC) + 8
    if not fixed.startswith(_MAGIC) or zlib.crc32(raw[checked:].data) != int.from_bytes(
        fixed[len(_MAGIC) : checked], "little"
    ):
        raise CorruptStoreError(f"{path} is incomplete or changed")
    body = _PREFIX + int.from_bytes(fixed[checked:], "little")
    layout = json.loads(raw[_PREFIX:body].tobytes())
    return {
        name: raw[body + entry["start"] :][: entry["bytes"]].view(np.dtype(entry["dtype"])).reshape(entry["shape"])
        for name, entry in layout.items()
    }
