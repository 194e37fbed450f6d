"""Weights files as flat tables of tensors. No code in a file is ever run; other files are refused by name."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError, shorten

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.checkpoints.archive import UnpickledFile

_WRAPPERS = ("state_dict", "model_state_dict", "model")


@dataclass(frozen=True)
class Checkpoint:
    """The tensors of a weights file.

    Attributes:
        tensors: The tensors by their names in the file; they lie on the CPU and may be mapped from the file.
        kind: The format: ``safetensors``, ``torch``, ``torchscript`` or ``legacy`` (torch's format before 1.6).
        dropped: The classes whose objects were left out, such as ``argparse.Namespace``.
    """

    tensors: dict[str, Tensor]
    kind: str
    dropped: tuple[str, ...] = ()


def read_checkpoint(path: str | Path, *, drop_unknown: bool = False) -> Checkpoint:
    """Read a weights file: safetensors, torch's zip archive, TorchScript, or torch's older stream of pickles.

    If the file holds a dictionary with ``state_dict``, the result is what lies under that key. Pickles go through
    ``torch.load(weights_only=True)``. Where that refuses, they go through an unpickler that builds tensors and plain
    containers alone; TorchScript always goes through this unpickler, without its code.

    Args:
        path: The weights file.
        drop_unknown: Whether to leave out objects of other classes instead of refusing the file. Their code never runs.

    Raises:
        InputError: The file is missing, damaged or holds no weights, or a pickle holds code or unknown classes.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(
            f"{path} is a folder without open_clip_config.json or config.json; name the weights file in it"
        )
    if not path.exists():
        raise InputError(f"there is no weights file {path}")
    try:
        with path.open("rb") as file:
            head = file.read(2048)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    _refuse_text(path, head)
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return Checkpoint(_read_safetensors(path), "safetensors")
    if head.startswith(b"PK\x03\x04"):
        return _read_zip(path, drop_unknown)
    if head[:1] == b"\x80" or (head[:1] in (b"c", b"(") and _names_code(path)):
        return _read_legacy(path, drop_unknown)
    raise InputError(f"{path} is no weights file: it begins with {head[:8]!r}{_format_hint(head)}")


def sha256_of(paths: Iterable[Path]) -> str:
    """Return the SHA-256 of a file in hexadecimal, or for several files the SHA-256 of their SHA-256s in this order.

    Raises:
        InputError: A file cannot be read.
    """
    found = []
    for path in paths:
        try:
            with path.open("rb") as file:
                found.append(hashlib.file_digest(file, "sha256").hexdigest())
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}") from error
    return found[0] if len(found) == 1 else hashlib.sha256("\n".join(found).encode()).hexdigest()


def _refuse_text(path: Path, head: bytes) -> None:
    """Refuse the files that are saved in place of weights when a download goes wrong."""
    if not head:
        raise InputError(f"{path} is empty; download it again")
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"version https://git-lfs"):
        raise InputError(f"{path} is a Git LFS pointer, not the weights; type git lfs pull in its folder")
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        whole = path.read_bytes()[:1_000_000].lower()
        quota = b"quota" in whole or b"too many users" in whole
        what = "Google Drive's page that its download quota is spent" if quota else "an HTML page"
        raise InputError(f"{path} is {what}, not weights; open its address in a browser and save the file itself")


def _names_code(path: Path) -> bool:
    """Return whether this is a pickle of the oldest protocol, which begins like text, and names code."""
    from capreward.encoders.checkpoints.archive import DamagedFile, RefusedPickle, read_stream

    with path.open("rb") as file:
        try:
            return bool(read_stream(file).code)
        except RefusedPickle as error:
            return bool(error.found.code)
        except DamagedFile:
            return False


def _format_hint(head: bytes) -> str:
    """Return the end of a message: the other format that the first bytes of a file show."""
    if head.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"Rar!")):
        return "; unpack this archive first"
    if head[257:262] == b"ustar":
        return "; it is a tar archive (torch's format before 0.1.10, or one to unpack first)"
    if head.startswith(b"\x89HDF"):
        return "; HDF5 holds no torch weights"
    return "; torch's files and safetensors can be read"


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        size = path.stat().st_size
        raise InputError(
            f"{path} is damaged: its {size:,} bytes are no whole safetensors file ({error}); download it again"
        ) from error


def _read_zip(path: Path, drop_unknown: bool) -> Checkpoint:
    from capreward.encoders.checkpoints.archive import is_torchscript, read_archive, torch_prefix

    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        size = path.stat().st_size
        raise InputError(
            f"{path} is damaged: the end of the archive is missing after {size:,} bytes; download it again"
        ) from error
    with archive:
        prefix = torch_prefix(archive)
        if prefix is None:
            inside = shorten(archive.namelist()) or "nothing"
            raise InputError(f"{path} is a zip archive of other files ({inside}), not of torch; unpack it first")
        if is_torchscript(archive, prefix):
            found = _read_or_refuse(path, lambda: read_archive(archive, prefix), drop_unknown)
            return Checkpoint(_module_tensors(path, found.value), "torchscript", found.unknown)
        value = _torch_load_or_none(path, mapped=True)
        if value is not None:
            return Checkpoint(_state_dict_of(path, value), "torch")
        found = _read_or_refuse(path, lambda: read_archive(archive, prefix), drop_unknown)
        return Checkpoint(_state_dict_of(path, found.value), "torch", found.unknown)


def _read_legacy(path: Path, drop_unknown: bool) -> Checkpoint:
    from capreward.encoders.checkpoints.archive import read_stream

    value = _torch_load_or_none(path, mapped=False)
    if value is not None:
        return Checkpoint(_state_dict_of(path, value), "legacy")
    with path.open("rb") as file:
        found = _read_or_refuse(path, lambda: read_stream(file), drop_unknown)
    if found.plain:
        raise InputError(
            f"{path} is a pickle that torch.save did not write; load it and save its tensors by torch.save"
        )
    return Checkpoint(_state_dict_of(path, found.value), "legacy", found.unknown)


def _torch_load_or_none(path: Path, *, mapped: bool) -> Any:
    """Return what torch's own restricted loader reads, or None where it refuses; the next reader says why."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception:  # torch raises many kinds; the restricted reader reads the file or names what is wrong with it
        return None


def _read_or_refuse(path: Path, read: Any, drop_unknown: bool) -> UnpickledFile:
    """Run a reader and refuse the file if it names code or unknown classes."""
    from capreward.encoders.checkpoints.archive import DamagedFile, RefusedPickle

    reason = ""
    try:
        found: UnpickledFile = read()
    except DamagedFile as error:
        raise InputError(f"{path} is damaged: {error}; download it again") from error
    except RefusedPickle as error:
        found, reason = error.found, str(error)
    if found.code:
        raise InputError(
            f"{path} is a pickle with code: opening it the ordinary way would call {shorten(list(found.code))}; "
            "nothing was run, and the file is not to be trusted"
        )
    if found.unknown and not drop_unknown:
        raise InputError(
            f"{path} holds objects that are neither tensors nor plain containers: {shorten(list(found.unknown))}; "
            "type capreward convert FILE OUT_DIR --drop-unknown to leave them out"
        )
    if reason:
        raise InputError(f"{path} is damaged: its pickle cannot be read ({reason}); download it again")
    return found


def _module_tensors(path: Path, value: Any) -> dict[str, Tensor]:
    from capreward.encoders.checkpoints.archive import module_tensors
    from capreward.encoders.checkpoints.unpickler import ScriptModule

    if not isinstance(value, ScriptModule):
        raise InputError(f"{path} is a TorchScript archive without a module")
    try:
        return dict(module_tensors(value))
    except RecursionError as error:
        raise InputError(f"{path} is damaged: its modules contain each other") from error


def _state_dict_of(path: Path, value: Any) -> dict[str, Tensor]:
    """Return the table of tensors in a loaded object: the object itself, or what lies under ``state_dict``."""
    import torch

    for name in _WRAPPERS:
        if isinstance(value, dict) and isinstance(inner := dict.get(value, name), dict):
            value = inner
            break
    if not isinstance(value, dict):
        raise InputError(
            f"{path} holds a {type(value).__name__}, not a table of tensors; save model.state_dict() by torch.save"
        )
    found = {name: tensor for name, tensor in dict.items(value) if isinstance(tensor, torch.Tensor)}
    if not found:
        keys = shorten([repr(k) for k in dict.keys(value)]) or "nothing"
        raise InputError(f"{path} holds no tensors; its top level has {keys}")
    return {str(name): tensor.detach() for name, tensor in found.items()}
