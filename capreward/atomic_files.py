"""Functions that write files so that no half-written file is ever visible, and the cache folder."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from capreward.errors import InputError


def write_beside(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` fill a new file in the same folder, then rename it to ``path``; remove it if anything fails.

    Raises:
        InputError: The operating system refuses to write the file.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    beside = Path(name)
    try:
        write(beside)
        beside.chmod(0o644)
        os.replace(beside, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        beside.unlink(missing_ok=True)


def write_text_beside(path: Path, text: str) -> None:
    """Write a text file so that no half-written one is ever visible; see :func:`write_beside`.

    Raises:
        InputError: The operating system refuses to write the file.
    """

    def write(beside: Path) -> None:
        beside.write_text(text, encoding="utf-8")

    write_beside(path, write)


def cache_folder() -> Path:
    """Return the cache folder: CAPREWARD_CACHE, else XDG_CACHE_HOME/capreward, else ~/.cache/capreward."""
    if own := os.environ.get("CAPREWARD_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "capreward"
