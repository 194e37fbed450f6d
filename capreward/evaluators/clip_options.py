"""Checks of the options of CLIP evaluators, made before any weights are read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from capreward.errors import InputError


def check_flags(name: str, flags: Mapping[str, object], quick_gelu: object) -> None:
    """Refuse flags that are neither true nor false; ``quick_gelu`` may also be None.

    Raises:
        InputError: The message names the wrong option of the evaluator ``name``.
    """
    given = {**flags, **({} if quick_gelu is None else {"quick_gelu": quick_gelu})}
    wrong = next((option for option, value in given.items() if not isinstance(value, bool)), None)
    if wrong is not None:
        raise InputError(f"{name}: {wrong}={given[wrong]!r} is neither true nor false")


def check_texts(name: str, texts: Mapping[str, object]) -> None:
    """Refuse names and paths that are no text.

    Raises:
        InputError: The message names the wrong option of the evaluator ``name``.
    """
    wrong = next((o for o, value in texts.items() if value is not None and not isinstance(value, (str, Path))), None)
    if wrong is not None:
        raise InputError(f"{name}: {wrong}={texts[wrong]!r} is no text")


def check_numbers(name: str, w: object, counts: Mapping[str, tuple[object, int]]) -> None:
    """Refuse a factor that is no number, and counts that are no whole numbers or below their least value.

    Raises:
        InputError: The message names the wrong option of the evaluator ``name``.
    """
    if w is not None and (isinstance(w, bool) or not isinstance(w, (int, float)) or not math.isfinite(w)):
        raise InputError(f"{name}: w={w!r} is no number")
    for option, (value, least) in counts.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < least):
            raise InputError(f"{name}: {option}={value!r} is no whole number of {least} or more")


def check_weights(name: str, weights: Mapping[str, object]) -> None:
    """Refuse weights of a sum's parts that are no numbers; None is allowed.

    Raises:
        InputError: The message names the wrong option of the evaluator ``name``.
    """
    for option, value in weights.items():
        number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not number:
            raise InputError(f"{name}: {option}={value!r} is no number")
