"""Checks of options: values that are none of the known ones or out of range are refused in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from capreward.errors import InputError


def check_choice(what: str, value: object, known: Sequence[str]) -> None:
    """Refuse a value that is none of the known ones.

    Raises:
        InputError: with the known ones.
    """
    if value not in known:
        raise InputError(f"{what}={value!r} is none of {', '.join(known)}")


def check_range(what: str, value: object, low: float, high: float = float("inf"), *, whole: bool = False) -> None:
    """Refuse what is no number from ``low`` to ``high``.

    Raises:
        InputError: with the range.
    """
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not (low <= value <= high and isfinite(value)):
        kind = "a whole number" if whole else "a number"
        upper = "" if high == float("inf") else f" and at most {high:g}"
        raise InputError(f"{what} must be {kind}, at least {low:g}{upper}; found {value!r}")


def check_flag(what: str, value: object) -> None:
    """Refuse what is neither true nor false.

    Raises:
        InputError: with what was found.
    """
    if not isinstance(value, bool):
        raise InputError(f"{what} must be true or false; found {value!r}")
