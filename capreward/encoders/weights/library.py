"""The user's library of evaluator weights: files are checked, copied whole, and recorded with their hash."""

from __future__ import annotations

import json
import shutil
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.atomic_files import write_beside
from capreward.encoders.weights.catalogue import (
    CATALOGUE,
    Entry,
    entry_of,
    library_folder,
    patch_size,
    weights_of_entry,
)
from capreward.errors import InputError

if TYPE_CHECKING:
    from capreward.encoders.weights.types import Weights

Progress = Callable[[int, int], None]

_TIMEOUT = 60.0  # the longest wait for a byte, in seconds
_BLOCK = 1 << 20


@dataclass(frozen=True)
class StoredWeights:
    """Weights in the user's library.

    Attributes:
        entry: The catalogue's entry that they are for.
        path: The file or folder in the library.
        sha256: The SHA-256 of the weights.
        new: Whether this call added them; False if they were there before.
    """

    entry: Entry
    path: Path
    sha256: str
    new: bool


def status() -> list[dict[str, Any]]:
    """Return for each entry of the catalogue: evaluators, file, place, hash, and where its authors publish it."""
    from capreward.encoders.weights.folders import digest_of

    rows = []
    for entry in CATALOGUE:
        found = weights_of_entry(entry)
        rows.append(
            {
                "evaluators": list(entry.evaluators),
                "variant": entry.variant,
                "file": entry.files[0],
                "found": None if found is None else str(found.path),
                "origin": None if found is None else found.origin,
                "sha256": None if found is None else digest_of(found.path),
                "published": entry.published,
                "published_sha256": entry.sha256,
            }
        )
    return rows


def add(path: Path, name: str | None = None, *, drop_unknown: bool = False) -> StoredWeights:
    """Check a weights file or converted folder and copy it into the library.

    Args:
        path: The file or folder.
        name: The evaluator that it is for, ``pacs`` or ``pacs:L/14``; by default the one whose file has this name.
        drop_unknown: Whether to leave out objects that are neither tensors nor plain containers. The library then keeps
            the file as a converted folder, which has none of them, so that evaluators load it without more questions.

    Raises:
        InputError: The weights are unusable or of another kind, the name is unknown, or others are already there.
    """
    if not path.exists():
        raise InputError(f"there is no file or folder {path}")
    entry = _entry_for(path, name)
    if drop_unknown and path.is_file():
        return _add_converted(path, entry)
    weights = read_checked_weights(path, entry)
    return _store_weights(path, entry, weights.spec.sha256, weights.spec.layout)


def _add_converted(path: Path, entry: Entry) -> StoredWeights:
    """Keep a file as the folder that ``capreward convert --drop-unknown`` makes of it."""
    from capreward.encoders.weights.conversion import convert
    from capreward.encoders.weights.types import WeightsRequest

    read_checked_weights(path, entry, drop_unknown=True)
    with tempfile.TemporaryDirectory(prefix="capreward-") as home:
        folder = Path(home) / Path(entry.files[0]).stem
        convert(
            path, folder, WeightsRequest(quick_gelu=entry.quick_gelu, statistics=entry.statistics, drop_unknown=True)
        )
        weights = read_checked_weights(folder, entry)
        return _store_weights(folder, entry, weights.spec.sha256, weights.spec.layout)


def fetch(entry: Entry, url: str, progress: Progress | None = None) -> StoredWeights:
    """Download an entry's file, check it like :func:`add`, and keep it.

    Args:
        entry: The entry whose file is fetched.
        url: The address of the file.
        progress: A function that gets the bytes so far and in all (0 if the server does not state them).

    Raises:
        InputError: The address cannot be read, or gives something else.
    """
    folder = library_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch.") as name:
        path = Path(name) / entry.files[0]
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as source, path.open("wb") as file:
                total, done = int(source.headers.get("Content-Length") or 0), 0
                while block := source.read(_BLOCK):
                    file.write(block)
                    done += len(block)
                    if progress is not None:
                        progress(done, total)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{url} cannot be fetched ({error}); download {entry.files[0]} in a browser and type "
                f"capreward weights add {entry.files[0]}"
            ) from error
        if done < total:
            raise InputError(f"{url} broke off after {done:,} of {total:,} bytes; try again")
        weights = read_checked_weights(path, entry)
        return _store_weights(path, entry, weights.spec.sha256, weights.spec.layout)


def read_checked_weights(path: Path, entry: Entry, *, drop_unknown: bool = False) -> Weights:
    """Read weights and refuse them if they are not of the entry's kind, or hold NaN or infinite values.

    Raises:
        InputError: The message says what was found instead.
    """
    from capreward.encoders.checkpoints.nonfinite import refuse_nonfinite
    from capreward.encoders.model.open_clip_model import fitting_tensors
    from capreward.encoders.weights.source import read_weights
    from capreward.encoders.weights.types import WeightsRequest

    request = WeightsRequest(drop_unknown=drop_unknown)
    if path.is_file():
        request = replace(request, quick_gelu=entry.quick_gelu, statistics=entry.statistics)
    weights = read_weights(path, request)
    spec = weights.spec
    if path.name in entry.files and entry.sha256 not in (None, spec.sha256):
        raise InputError(f"{path} has the SHA-256 {spec.sha256[:12]}; its authors state {str(entry.sha256)[:12]}")
    if spec.layout not in entry.layouts:
        raise InputError(f"{path} has the layout {spec.layout}; {entry.title} needs {' or '.join(entry.layouts)}")
    found = (spec.model_cfg["embed_dim"], spec.model_cfg["vision_cfg"].get("patch_size", entry.patch))
    if found != (entry.embed_dim, entry.patch):
        raise InputError(
            f"{path} has features of {found[0]} numbers and patches of {found[1]} pixels; {entry.title} has "
            f"{entry.embed_dim} and {entry.patch}"
        )
    fitting_tensors(spec.model_cfg, weights.tensors, str(path))
    refuse_nonfinite(weights.head or {}, f"{path}, grammar head")
    return weights


def _entry_for(path: Path, name: str | None) -> Entry:
    from capreward.encoders.checkpoints.folder import RECORD, read_json

    if name is not None:
        family, _, variant = name.partition(":")
        if variant:
            return entry_of(family, variant)
        patch = patch_size(path)
        matching = (e for e in CATALOGUE if family in e.evaluators and e.patch == patch)
        return next(matching, entry_of(family))
    record = read_json(path / RECORD) if (path / RECORD).is_file() else {}
    source = record.get("source")
    names = {path.name, str(source.get("name")) if isinstance(source, dict) else ""}
    for entry in CATALOGUE:
        if names & set(entry.files):
            return entry
    families = ", ".join(dict.fromkeys(e.family for e in CATALOGUE))
    raise InputError(f"{path} has the name of no published weights; say what it is for: --as {families}")


def _store_weights(path: Path, entry: Entry, sha256: str, layout: str) -> StoredWeights:
    from capreward.encoders.weights.folders import digest_of

    folder = library_folder()
    target = folder / (Path(entry.files[0]).stem if path.is_dir() else entry.files[0])
    there = weights_of_entry(entry)
    if there is not None and there.path.parent == folder:
        if digest_of(there.path) == sha256:
            return StoredWeights(entry, there.path, sha256, new=False)
        raise InputError(f"{there.path} already holds other weights for {entry.title}; remove it first")
    record = {"for": entry.family, "variant": entry.variant, "name": path.name, "sha256": sha256, "layout": layout}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            _copy_folder(path, target)
        else:
            write_beside(target, lambda beside: _copy_file(path, beside))
        write_beside(target.parent / f"{target.name}.json", lambda beside: _write_json(beside, record))
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from error
    return StoredWeights(entry, target, sha256, new=True)


def _copy_file(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _write_json(path: Path, record: dict[str, str]) -> None:
    path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _copy_folder(source: Path, target: Path) -> None:
    beside = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        shutil.copytree(source, beside / "new")
        (beside / "new").rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
