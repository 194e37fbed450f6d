"""METEOR's data files in the installed pycocoevalcap, and their binary index in the user's cache folder."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from capreward.atomic_files import cache_folder
from capreward.errors import InputError
from capreward.text.meteor.index_build import Progress, paraphrase_arrays, synonym_arrays
from capreward.text.meteor.store import Array, CorruptStoreError, load_arrays, save_arrays

_FORMAT = 1
_FUNCTION_WORDS = "function/english.words"
_PREFIXES = "nonbreaking/english.prefixes"
_EXCEPTIONS = "synonym/english.exceptions"
_SYNSETS = "synonym/english.synsets"
_MEMBERS = (_FUNCTION_WORDS, _PREFIXES, _EXCEPTIONS, _SYNSETS)


@dataclass(frozen=True, slots=True)
class Sources:
    """The two files that hold METEOR's English data.

    Attributes:
        jar: The path of ``meteor-1.5.jar``.
        paraphrases: The path of the gzipped paraphrase table.
    """

    jar: Path
    paraphrases: Path

    def fingerprint(self) -> str:
        """Return sixteen hexadecimal digits that change if the data changes.

        Both files carry checksums of their contents (in the zip directory and the gzip trailer), so the contents need
        not be read.

        Raises:
            InputError: If a file is missing or damaged, or lacks the English data.
        """
        try:
            with zipfile.ZipFile(self.jar) as jar:
                parts = [f"{member}:{jar.getinfo(member).CRC:08x}" for member in _MEMBERS]
            with self.paraphrases.open("rb") as table:
                table.seek(-8, os.SEEK_END)
                parts.append(f"{self.paraphrases.stat().st_size}:{table.read().hex()}")
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise InputError(
                f"METEOR's data in {self.jar.parent} cannot be read ({error}); reinstall it with "
                "`pip install --force-reinstall pycocoevalcap`."
            ) from error
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def installed_sources() -> Sources:
    """Locate the data files inside the installed pycocoevalcap, without importing it.

    Raises:
        InputError: If pycocoevalcap is not installed.
    """
    spec = importlib.util.find_spec("pycocoevalcap")
    folders = [Path(folder) / "meteor" for folder in (spec.submodule_search_locations or ())] if spec else []
    if not folders:
        raise InputError("METEOR needs the data files of pycocoevalcap; install them with `pip install pycocoevalcap`.")
    return Sources(folders[0] / "meteor-1.5.jar", folders[0] / "data" / "paraphrase-en.gz")


def index_path(sources: Sources, cache: Path | None = None) -> Path:
    """Return the path of the index of these sources; its name changes with the data and with the index's format."""
    return (cache or cache_folder()) / f"meteor-en-v{_FORMAT}-{sources.fingerprint()}.bin"


def load_index(
    sources: Sources | None = None, cache: Path | None = None, progress: Progress | None = None
) -> dict[str, Array]:
    """Open the index; it is built on first use (about twenty seconds) or if its file is damaged.

    Args:
        sources: The data files; None takes those of the installed pycocoevalcap.
        cache: The folder of the index; None takes :func:`cache_folder`.
        progress: A function that is called with (bytes read, bytes in all) while the index is built.

    Returns:
        The named arrays of :mod:`capreward.text.meteor.index_build`, and the arrays ``function_words`` and ``prefixes``
        (UTF-8 text).

    Raises:
        InputError: If the data files are missing or damaged.
    """
    sources = sources or installed_sources()
    path = index_path(sources, cache)
    log = logging.getLogger(__name__)
    try:
        return load_arrays(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (CorruptStoreError, OSError) as error:
        log.warning("The METEOR index is unusable (%s) and is built again.", error)
    arrays = build_index(sources, progress)
    try:
        save_arrays(path, arrays)
    except OSError as error:
        log.warning(
            "The METEOR index stays in memory and is built again next time: %s cannot be written (%s). "
            "Set CAPREWARD_CACHE to a folder that can.",
            path.parent,
            error.strerror,
        )
        return arrays
    return load_arrays(path)


def build_index(sources: Sources, progress: Progress | None = None) -> dict[str, Array]:
    """Read the data files into the arrays of the index; see :func:`load_index`.

    Raises:
        InputError: If the data files are missing or damaged.
    """
    try:
        with zipfile.ZipFile(sources.jar) as jar:
            texts = {member: jar.read(member).decode("utf-8") for member in _MEMBERS}
        return {
            "function_words": np.frombuffer(texts[_FUNCTION_WORDS].encode(), dtype=np.uint8),
            "prefixes": np.frombuffer(texts[_PREFIXES].encode(), dtype=np.uint8),
            **synonym_arrays(texts[_SYNSETS], texts[_EXCEPTIONS]),
            **paraphrase_arrays(sources.paraphrases, progress),
        }
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"METEOR's data in {sources.jar.parent} is damaged ({error}); reinstall it with "
            "`pip install --force-reinstall pycocoevalcap`."
        ) from error
