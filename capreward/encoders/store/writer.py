"""The writer of feature stores. It writes whole parts only, so killed, repeated and parallel runs all fit together."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from capreward.encoders.store.feature_store import FeatureStore
from capreward.encoders.store.header import NAME, StoreHeader, field_text
from capreward.encoders.store.parts import write_part
from capreward.errors import InputError

if TYPE_CHECKING:
    import torch

Shard = tuple[int, int]


def in_shard(key: str, shard: Shard) -> bool:
    """Return whether the process ``i`` of ``n`` embeds ``key``; the partition is the same on every machine."""
    index, of = shard
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % of == index


class StoreWriter:
    """Adds parts to a feature store, and makes the store if there is none.

    Args:
        path: The folder.
        header: The description of the features; it must equal that of an existing store.
        shard: The pair (i, n) for process i of n, counted from 0. Each process takes its share of the keys and names
            its parts so that no two processes need a lock.

    Raises:
        InputError: The folder cannot be written or holds something else, its features are of another encoder, or the
            shard is invalid.
    """

    def __init__(self, path: str | Path, header: StoreHeader, *, shard: Shard = (0, 1)) -> None:
        index, of = shard
        if not 0 <= index < of:
            raise InputError(f"shard {index}/{of} does not exist; {of} shards are 0/{of} to {max(of - 1, 0)}/{of}")
        self.path = Path(path)
        self.header = header
        self.shard = shard
        _open_folder(self.path, header)
        known = FeatureStore(self.path)
        self._check_header(known.header)
        self._texts = dict(zip(known.keys, known.texts or known.keys, strict=True))

    def __contains__(self, key: str) -> bool:
        return key in self._texts

    def missing(self, keys: Sequence[str], texts: Sequence[str] | None = None) -> list[int]:
        """Return the positions in ``keys`` that this shard has still to embed.

        Raises:
            InputError: A key is given twice, or its stored feature is of another text.
        """
        if len(set(keys)) < len(keys):
            seen: set[str] = set()
            twice = next(k for k in keys if k in seen or seen.add(k))  # type: ignore[func-returns-value]
            raise InputError(f"two of the things to embed in {self.path} have one key, {twice!r}; keys must differ")
        todo = []
        for i, key in enumerate(keys):
            if key not in self._texts:
                if in_shard(key, self.shard):
                    todo.append(i)
            elif texts is not None and self._texts[key] != texts[i]:
                raise InputError(
                    f"{self.path} holds {key!r} for another text ({self._texts[key]!r}, now {texts[i]!r}); "
                    "embed into a new folder"
                )
        return todo

    def write(self, keys: Sequence[str], features: torch.Tensor, texts: Sequence[str] | None = None) -> Path:
        """Add one part; it appears whole or not at all, and never replaces another.

        Args:
            keys: The keys of the features, [n], n >= 1.
            features: The features, [n, *shape].
            texts: The embedded texts, [n], in a text store.

        Returns:
            The path of the new file.

        Raises:
            InputError: The features do not fit or are not finite, or the folder cannot be written.
        """
        with np.errstate(over="ignore"):  # values that float16 cannot hold are refused below
            array: np.ndarray[Any, Any] = features.detach().float().cpu().numpy().astype(self.header.dtype)
        if array.shape != (len(keys), *self.header.shape) or not keys:
            raise InputError(
                f"{len(keys)} features of shape {self.header.shape} were expected for {self.path}, not {array.shape}"
            )
        finite = np.isfinite(array.reshape(len(keys), -1)).all(axis=1)
        if not finite.all():
            raise InputError(
                f"the feature of {keys[int(finite.argmin())]!r} is not finite in {self.header.dtype}; "
                "look at the weights, or use --precision fp32 without --fp16"
            )
        index, of = self.shard
        name = "part" if of == 1 else f"part-{index}-of-{of}"
        number = sum(1 for _ in self.path.glob(f"{name}-[0-9][0-9][0-9][0-9][0-9].safetensors"))
        while True:
            path = self.path / f"{name}-{number:05d}.safetensors"
            if _write_new(path, lambda beside: write_part(beside, self.header, keys, array, texts)):
                break
            number += 1
        self._texts.update(zip(keys, texts or keys, strict=True))
        return path

    def _check_header(self, found: StoreHeader) -> None:
        """Refuse to mix features of two kinds."""
        name = found.difference(self.header.encoder)
        if name:
            ours, theirs = field_text(self.header.encoder, name), field_text(found.encoder, name)
        else:
            different = [
                f for f in ("kind", "shape", "dtype", "prompt") if getattr(found, f) != getattr(self.header, f)
            ]
            if not different:
                self.header = found  # it is equal in all that matters; parts must carry its digest
                return
            ours, theirs = (f"{different[0]} {getattr(h, different[0])!r}" for h in (self.header, found))
        raise InputError(f"{self.path} holds features with {theirs}, not {ours}; name another folder")


def _open_folder(path: Path, header: StoreHeader) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
        if (path / NAME).exists():
            return
        if any(not p.name.startswith(".") for p in path.iterdir()) and not (path / NAME).exists():
            raise InputError(f"{path} holds other files and no {NAME}; name a new folder for the features")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    _write_new(path / NAME, header.write)


def _write_new(path: Path, write: Callable[[Path], None]) -> bool:
    """Write a file beside its place and move it there, unless another process was first.

    Returns:
        Whether this call made the file.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
        beside = Path(name)
        try:
            write(beside)
            beside.chmod(0o644)
            return _publish(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error


def _publish(beside: Path, path: Path) -> bool:
    try:
        os.link(beside, path)  # unlike a rename it never replaces a file
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        os.rename(beside, path)
    return True
