"""The evaluator that is made from a plain function."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.evaluators.base import Evaluator
from capreward.samples import Samples


@dataclass(frozen=True)
class Declaration:
    """The properties of a function that ``@reward`` declares."""

    name: str
    needs: frozenset[str] = frozenset()
    higher_is_better: bool = True


def declaration_of(function: Callable[..., Any], name: str) -> Declaration:
    """Return what ``@reward`` declared for ``function``; an undecorated function gets ``name`` and no needs."""
    found = getattr(function, "__capreward__", None)
    return found if isinstance(found, Declaration) else Declaration(name)


class FunctionEvaluator(Evaluator):
    """An evaluator made from a function; see :func:`capreward.custom_rewards.reward`.

    Args:
        function: A function from captions and keyword context to N numbers.
        declaration: The name, needs and direction of the function.
        options: Further keyword arguments for each call.
    """

    is_share = False
    no_number = "None or NaN"

    def __init__(
        self, function: Callable[..., Any], declaration: Declaration, options: Mapping[str, Any] | None = None
    ) -> None:
        self.name = declaration.name
        self.needs = declaration.needs
        self.higher_is_better = declaration.higher_is_better
        self.function = function
        self.options = dict(options or {})
        _check_call(function, self.name, self.options)

    def parameters(self) -> dict[str, object]:
        """Return the given options."""
        return dict(self.options)

    def values(self, samples: Samples, prepared: Any) -> npt.NDArray[np.float64]:
        """Call the function and check what it returns."""
        from capreward.data.images.cropped_picture import without_crops

        items = samples.item.tolist()
        context = {
            "references": None if samples.references is None else [samples.references[i] for i in items],
            "images": None if samples.images is None else [without_crops(samples.images[i]) for i in items],
            "keys": [samples.key[i] for i in items],
            "item": samples.item,
        }
        try:
            returned = self.function(list(samples.captions), **context, **self.options)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"the reward {self.name!r} fails: {_error_text(error)}") from error
        try:
            numbers = [returned] if isinstance(returned, (int, float)) else list(returned)
        except TypeError as error:
            kind = type(returned).__name__
            raise InputError(
                f"the reward {self.name!r} returned a {kind}; it must return a number per caption"
            ) from error
        if len(numbers) != len(samples):
            raise InputError(f"the reward {self.name!r} returned {len(numbers)} values for {len(samples)} captions")
        try:
            return np.array([np.nan if v is None else float(v) for v in numbers], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(f"the reward {self.name!r} returned something that is no number: {error}") from error


def _error_text(error: Exception) -> str:
    """Return an exception and the place that raised it in one line."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.name}, line {place.lineno} of {place.filename})"


def _check_call(function: Callable[..., Any], name: str, options: Mapping[str, Any]) -> None:
    parameters = inspect.signature(function).parameters
    if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        raise InputError(f"the reward {name!r} must accept **context; write `def {name}(captions, **context)`")
    unknown = [o for o in options if o not in parameters]
    if unknown:
        known = [n for n, p in parameters.items() if p.default is not inspect.Parameter.empty]
        raise InputError(f"{name} has no option {unknown[0]!r}; it has {', '.join(known) or 'none'}")
