"""Readers of torch's file formats that do not use torch.load: zip archives, TorchScript, and older pickle streams."""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from capreward.encoders.checkpoints.unpickler import DTYPES, RestrictedUnpickler, ScriptModule, Storage

MAGIC = 0x1950A86A20F9469CFC6C  # first pickle of torch's files up to version 1.5
_PROTOCOL = 1001


class DamagedFile(Exception):
    """The file is incomplete; the text says what is missing, and completes "FILE is damaged: "."""


@dataclass(frozen=True)
class UnpickledFile:
    """The content of an unpickled file.

    Attributes:
        value: The top object of the file.
        code: Names in the file that would act on the machine; none was called.
        unknown: Names in the file of classes that are neither tensors nor plain containers.
        plain: Whether the file lacks torch's header, so that another program wrote the pickle.
    """

    value: Any
    code: tuple[str, ...]
    unknown: tuple[str, ...]
    plain: bool = False


class RefusedPickle(Exception):
    """The pickle cannot be built from tensors and plain containers alone.

    Args:
        found: The names that were read before the failure.
        reason: The reason of the failure.
    """

    def __init__(self, found: UnpickledFile, reason: str) -> None:
        super().__init__(reason)
        self.found = found


def torch_prefix(archive: zipfile.ZipFile) -> str | None:
    """Return the folder inside a zip archive that holds torch's ``data.pkl``, such as ``"archive/"``, or None."""
    folders = [name[: -len("data.pkl")] for name in archive.namelist() if name.split("/")[-1] == "data.pkl"]
    return min(folders, key=len, default=None)


def is_torchscript(archive: zipfile.ZipFile, prefix: str) -> bool:
    """Return whether ``torch.jit.save`` wrote the archive; such an archive also holds code and constants."""
    return f"{prefix}constants.pkl" in archive.namelist()


def read_archive(archive: zipfile.ZipFile, prefix: str) -> UnpickledFile:
    """Read ``data.pkl`` of an archive by ``torch.save`` or ``torch.jit.save``; code in it is not even parsed.

    Raises:
        DamagedFile: A record is missing or too short, or its checksum is wrong.
        RefusedPickle: The pickle needs more than tensors and plain containers.
    """
    names = set(archive.namelist())
    if f"{prefix}byteorder" in names and archive.read(f"{prefix}byteorder") != b"little":
        raise DamagedFile("its numbers are big-endian; save it again on an ordinary machine")
    made: dict[str, Storage] = {}

    def load_storage(pid: Any) -> Storage:
        dtype, key, count = _storage_id(pid)
        if key not in made:
            made[key] = _read_record(archive, f"{prefix}data/{key}", dtype, count)
        return made[key]

    with archive.open(f"{prefix}data.pkl") as file:
        return _unpickled(RestrictedUnpickler(file, load_storage))  # type: ignore[arg-type]


def read_stream(file: BinaryIO) -> UnpickledFile:
    """Read torch's format before 1.6: five pickles, then the count and the bytes of each storage.

    A pickle without torch's header is read as well, so that a message can say what it names.

    Raises:
        DamagedFile: The file ends early.
        RefusedPickle: A pickle needs more than tensors and plain containers.
    """
    first = _unpickled(RestrictedUnpickler(file, _refuse_storage))
    if first.value != MAGIC:
        return UnpickledFile(first.value, first.code, first.unknown, plain=True)
    if _unpickled(RestrictedUnpickler(file, _refuse_storage)).value != _PROTOCOL:
        raise DamagedFile("its protocol is not torch's")
    machine = _unpickled(RestrictedUnpickler(file, _refuse_storage)).value
    if not isinstance(machine, dict) or not machine.get("little_endian", True):
        raise DamagedFile("its numbers are big-endian; save it again on an ordinary machine")
    size = os.fstat(file.fileno()).st_size
    roots: dict[str, tuple[bytearray, Storage, int]] = {}

    def load_storage(pid: Any) -> Storage:
        dtype, key, count = _storage_id(pid)
        width = _bytes_per_number(dtype)
        if key not in roots:
            if count * width > size:
                raise DamagedFile(f"it ends after {size:,} bytes and names a tensor of {count * width:,}")
            buffer = bytearray(count * width)
            roots[key] = (buffer, Storage(_tensor_over(buffer, dtype)), width)
        whole = roots[key][1]
        view = pid[5] if len(pid) > 5 else None
        return whole if view is None else Storage(whole.values[view[1] : view[1] + view[2]])

    found = _unpickled(RestrictedUnpickler(file, load_storage))
    for key in _unpickled(RestrictedUnpickler(file, _refuse_storage)).value:
        if key not in roots:
            raise DamagedFile(f"its storage {key} belongs to no tensor")
        _read_storage(file, *roots[key])
    return found


def module_tensors(module: ScriptModule, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the parameters and buffers of a TorchScript module with their dotted names."""
    import torch

    state = module.state if isinstance(module.state, dict) else {}
    for name, value in state.items():
        if isinstance(value, torch.Tensor):
            yield f"{prefix}{name}", value
        elif isinstance(value, ScriptModule):
            yield from module_tensors(value, f"{prefix}{name}.")


def _unpickled(unpickler: RestrictedUnpickler) -> UnpickledFile:
    def names() -> tuple[tuple[str, ...], tuple[str, ...]]:
        return tuple(dict.fromkeys(unpickler.code)), tuple(dict.fromkeys(unpickler.unknown))

    try:
        value = unpickler.load()
    except DamagedFile:
        raise
    except Exception as error:  # the bytes are untrusted, so any error of the pickle machine becomes one sentence
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise RefusedPickle(UnpickledFile(None, *names()), reason) from error
    return UnpickledFile(value, *names())


def _storage_id(pid: Any) -> tuple[str, str, int]:
    """Return type, key and count of ``("storage", type, key, location, count, ...)``."""
    if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and pid[1] in DTYPES.values()):
        raise DamagedFile("a tensor's storage has no type that torch writes")
    count = pid[4]
    if not isinstance(count, int) or count < 0:
        raise DamagedFile("a tensor's storage has no size")
    return pid[1], str(pid[2]), count


def _refuse_storage(pid: Any) -> Storage:
    raise DamagedFile("a tensor in its header")


def _read_record(archive: zipfile.ZipFile, name: str, dtype: str, count: int) -> Storage:
    width = _bytes_per_number(dtype)
    try:
        entry = archive.getinfo(name)
        if entry.compress_type != zipfile.ZIP_STORED:
            raise DamagedFile(f"{name} is compressed, which torch never does")
        if entry.file_size < count * width:
            raise DamagedFile(f"{name} has {entry.file_size:,} bytes of {count * width:,}")
        buffer = bytearray(count * width)
        with archive.open(entry) as file:
            buffer[:] = file.read(len(buffer))
            file.read()  # reading to the end makes zipfile compare the checksum
    except KeyError as error:
        raise DamagedFile(f"{name} is missing from it") from error
    except zipfile.BadZipFile as error:
        raise DamagedFile(str(error)) from error
    return Storage(_tensor_over(buffer, dtype))


def _read_storage(file: BinaryIO, buffer: bytearray, storage: Storage, width: int) -> None:
    head = file.read(8)
    count = struct.unpack("<q", head)[0] if len(head) == 8 else -1
    if count * width != len(buffer) or file.readinto(buffer) != len(buffer):  # type: ignore[attr-defined]
        raise DamagedFile(f"it ends before its last tensors; {Path(file.name).name} was not copied to the end")


def _bytes_per_number(dtype: str) -> int:
    import torch

    return int(getattr(torch, dtype).itemsize)


def _tensor_over(buffer: bytearray, dtype: str) -> Any:
    """Return a one-dimensional tensor over the buffer's memory."""
    import torch

    kind = getattr(torch, dtype)
    return torch.frombuffer(buffer, dtype=kind) if buffer else torch.empty(0, dtype=kind)
