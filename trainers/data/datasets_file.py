"""The file ``datasets.json``: sets of shards by name, as a JSON object from names to brace patterns."""

from __future__ import annotations

import difflib
import json
import os
import re
from pathlib import Path
from typing import Any

from capreward.atomic_files import write_text_beside
from capreward.errors import InputError, shorten

REMOTE = ("http://", "https://", "s3://", "gs://", "pipe:")
_NAMED = re.compile(r"(.+\.json):([^/\\:]+)", re.IGNORECASE | re.DOTALL)


def is_remote(source: str) -> bool:
    """Return whether a source is an address or a command rather than a file."""
    return source.startswith(REMOTE)


def names_set(source: str) -> bool:
    """Return whether a source is ``FILE.json:NAME``."""
    return not is_remote(source) and not os.path.exists(source) and _NAMED.fullmatch(source) is not None


def places_of(source: str) -> list[str]:
    """Return the patterns of ``FILE.json:NAME``; patterns of files are relative to the folder of FILE.

    Raises:
        InputError: There is no such file or name, the value is no pattern of shards, or it is a command: a file of data
            may not name programs to run.
    """
    match = _NAMED.fullmatch(source)
    if match is None:
        raise InputError(f"{source} names no set of shards; write FILE.json:NAME")
    file, name = match[1], match[2]
    sets = read_sets(Path(file))
    if name not in sets:
        near = difflib.get_close_matches(name, sets, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {shorten(list(sets), 12) or 'none'}"
        raise InputError(f'{file} has no set "{name}"; {hint}')
    value = sets[name]
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, list) or not patterns or not all(isinstance(each, str) for each in patterns):
        raise InputError(f'{file}: "{name}" must be a pattern such as "x-{{000..007}}.tar", or a list of them')
    if any(each.startswith("pipe:") for each in patterns):
        raise InputError(
            f'{file}: "{name}" is a command, which is run only where it is typed: give it as --data itself'
        )
    if len({is_remote(each) for each in patterns}) > 1:
        raise InputError(f'{file}: "{name}" mixes files and addresses; give one kind')
    odd = [each for each in patterns if not each.lower().endswith(".tar") and not is_remote(each)]
    if odd:
        raise InputError(f'{file}: "{name}" is {odd[0]!r}, which is no .tar')
    folder = os.path.dirname(file)
    return [each if is_remote(each) else os.path.join(folder, each) for each in patterns]


def read_sets(path: Path) -> dict[str, Any]:
    """Read all sets of a file.

    Raises:
        InputError: There is no such file, or it is no JSON object.
    """
    try:
        sets = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"{path} cannot be read: {reason}") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}); it should be an object of names and brace patterns") from error
    if not isinstance(sets, dict):
        raise InputError(f"{path} should be a JSON object of names and brace patterns")
    return sets


def add_set(path: Path, name: str, pattern: str) -> None:
    """Add a named pattern to a file, which keeps its other names.

    Raises:
        InputError: The file holds something else, or cannot be written.
    """
    sets = read_sets(path) if path.exists() else {}
    if sets.get(name) == pattern:
        return
    sets[name] = pattern
    text = json.dumps(sets, indent=2, ensure_ascii=False) + "\n"
    write_text_beside(path, text)
