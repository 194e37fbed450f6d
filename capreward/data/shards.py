"""Expansion of brace patterns that name several shards, such as ``test-{000..007}.tar``."""

from __future__ import annotations

import re
from pathlib import Path

from capreward.errors import InputError

MOST_SHARDS = 100_000


def expand_braces(pattern: str) -> list[Path]:
    """Expand ``{000..003}`` and ``{a,b}`` as a shell does; a path that exists as it is written stays as it is."""
    if "{" not in pattern or Path(pattern).exists():
        return [Path(pattern)]
    return [Path(name) for name in expand_names(pattern)]


def expand_names(pattern: str) -> list[str]:
    """Expand ``{000..003}`` and ``{a,b}`` in any text, such as the address of remote shards."""
    waiting, done = [pattern], []
    while waiting:
        current = waiting.pop(0)
        found = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", current)
        if found is None:
            done.append(current)
            continue
        choices = found[3].split(",") if found[3] else _number_range(found[1], found[2], pattern)
        waiting.extend(current[: found.start()] + choice + current[found.end() :] for choice in choices)
        if len(waiting) > MOST_SHARDS:
            raise InputError(f"{pattern} names more than {MOST_SHARDS:,} shards")
    return done


def _number_range(first: str, last: str, pattern: str) -> list[str]:
    if int(first) > int(last) or int(last) - int(first) >= MOST_SHARDS:
        raise InputError(
            f"{pattern}: the range {{{first}..{last}}} must count upwards, over at most {MOST_SHARDS:,} shards"
        )
    return [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
