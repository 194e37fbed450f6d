"""Functions that write files so that no half-written file is ever visible, and the cache folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@contextmanager
def new_folder_beside(out: Path) -> Iterator[Path]:
    """Give a new folder to fill, which becomes ``out`` when all went well and is removed otherwise.

    Args:
        out: The folder to make; it does not exist, or is empty.

    Raises:
        InputError: The operating system refuses to write the folder.
    """
    try:
        beside = Path(tempfile.mkdtemp(dir=out.absolute().parent, prefix=f".{out.name}."))
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}") from error
    try:
        yield beside
        if out.exists():
            out.rmdir()
        beside.chmod(0o755)
        beside.rename(out)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def cache_folder() -> Path:
    """Return the cache folder: CAPREWARD_CACHE, else XDG_CACHE_HOME/capreward, else ~/.cache/capreward."""
    if own := os.environ.get("CAPREWARD_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "capreward"
