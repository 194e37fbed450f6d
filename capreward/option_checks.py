"""Checks of options: an unknown value or a value out of range is refused with one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from capreward.errors import InputError


def check_choice(what: str, value: object, known: Sequence[str]) -> None:
    """Refuse a value that is none of the known ones.

    Raises:
        InputError: The message lists the known values.
    """
    if value not in known:
        raise InputError(f"{what}={value!r} is none of {', '.join(known)}")


def check_range(what: str, value: object, low: float, high: float = float("inf"), *, whole: bool = False) -> None:
    """Refuse a value that is no number from ``low`` to ``high``.

    Raises:
        InputError: The message states the range.
    """
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not (low <= value <= high and isfinite(value)):
        kind = "a whole number" if whole else "a number"
        upper = "" if high == float("inf") else f" and at most {high:g}"
        raise InputError(f"{what} must be {kind}, at least {low:g}{upper}; found {value!r}")


def check_flag(what: str, value: object) -> None:
    """Refuse a value that is neither true nor false.

    Raises:
        InputError: The message shows what was found.
    """
    if not isinstance(value, bool):
        raise InputError(f"{what} must be true or false; found {value!r}")
