"""Custom rewards: the decorator that registers a plain function as an evaluator."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from capreward.errors import InputError
from capreward.evaluators import evaluators
from capreward.evaluators.function import Declaration
from capreward.expression import is_name
from capreward.registry import Entry

F = TypeVar("F", bound=Callable[..., Any])

NEEDS = ("images", "references")


def reward(name: str, *, needs: Iterable[str] = (), higher_is_better: bool = True) -> Callable[[F], F]:
    """Register a function as an evaluator; the function itself does not change.

    The function gets the captions (a list of N strings) and keyword arguments: ``references`` (a list per caption),
    ``images`` (one per caption, or None), ``keys`` (the image's name per caption), ``item`` (int64 [N]) and the options
    that follow its name, ``brevity(target=8)``. It returns N numbers. None (or NaN) means no reward: such captions are
    left out of the mean, and the notes of the score, or a ``RuntimeWarning`` of the call, say how many they are.

    Example:
        >>> import capreward
        >>> @capreward.reward("brevity")
        ... def brevity(captions, target=8, **context):
        ...     return [-abs(len(c.split()) - target) for c in captions]
        >>> capreward.load("brevity", target=2)(capreward.Samples(["a dog", "a dog runs"])).tolist()
        [0.0, -1.0]

    Raises:
        InputError: An expression cannot contain the name, the name is taken, or a need is unknown.
    """
    if not is_name(name):
        raise InputError(f"{name!r} cannot name a reward; use letters, digits, '-' and '_', starting with a letter")
    wrong = sorted(set(needs) - set(NEEDS))
    if wrong:
        raise InputError(f"the reward {name!r} needs {wrong[0]!r}; known needs are {' and '.join(NEEDS)}")

    def register(function: F) -> F:
        function.__capreward__ = Declaration(name, frozenset(needs), higher_is_better)  # type: ignore[attr-defined]
        summary = (inspect.getdoc(function) or "custom reward").splitlines()[0]
        origin = f"{function.__module__}.{function.__qualname__}"
        evaluators.add(name, Entry(function, summary=summary, needs=tuple(sorted(needs)), origin=origin))
        return function

    return register
