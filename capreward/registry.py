"""The only registry of evaluators by name; it takes lazy strings, entry points, decorators and dotted paths."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError
from capreward.metric_names import fold, matching_name

if TYPE_CHECKING:
    from capreward.evaluators.base import Evaluator

GROUP = "capreward.evaluators"


@dataclass(frozen=True)
class Entry:
    """One name in the registry.

    Attributes:
        target: ``"module:attribute"`` or the object itself: an Evaluator class, instance or factory.
        summary: One line for ``capreward ls evaluators``.
        options: The options that this name fixes.
        needs: What every image must have, for the listing.
        origin: The package or function that registered it.
    """

    target: str | Callable[..., Any]
    summary: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    origin: str = "capreward"


class Registry:
    """The evaluators by name; an evaluator is imported only when its name is first used.

    A name may be spelt as papers print it (``BLEU-4``, ``PAC-S++``; see :mod:`capreward.metric_names`).

    Args:
        entries: The entries by name.
        group: The group of entry points that add entries.
        lists: The names that stand for several others in a list of metrics.
    """

    def __init__(
        self, entries: Mapping[str, Entry], *, group: str = GROUP, lists: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self._entries = dict(entries)
        self._group = group
        self._lists = dict(lists or {})
        self._discovered = False

    def __iter__(self) -> Iterator[str]:
        self._discover()
        return iter(self._entries)

    def __getitem__(self, name: str) -> Entry:
        found = self.find(name)
        if found is None:
            raise InputError(self._unknown_name_message(name))
        return self._entries[found]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name) is not None

    def find(self, name: str) -> str | None:
        """Return the registered name that a spelling stands for; None if there is none.

        Raises:
            InputError: The spelling stands for several registered names.
        """
        if name in self._entries:
            return name
        self._discover()
        return matching_name(name, self._entries)

    def list_members(self, name: str) -> tuple[str, ...]:
        """Return the names that ``name`` stands for in a list of metrics; none if it is no list."""
        return () if self.find(name) is not None else self._lists.get(fold(name), ())

    def add(self, name: str, entry: Entry) -> None:
        """Register ``entry`` under ``name``.

        Raises:
            InputError: The name is taken by another entry.
        """
        taken = self._entries.get(name)
        if taken is not None and taken.origin != entry.origin:
            raise InputError(f"the name {name!r} is taken by {taken.origin}; {entry.origin} must choose another")
        self._entries[name] = entry

    def load(self, name: str, options: Mapping[str, Any] | None = None) -> Evaluator:
        """Make the evaluator ``name`` (or ``package.module:attribute``) with options.

        Raises:
            InputError: The name is unknown (the message suggests others), an option does not exist, or the target is no
                evaluator.
        """
        dotted = ":" in name and name not in self._entries
        entry = _entry_of_path(name) if dotted else self[name]
        name = name if dotted else self.find(name) or name
        target = _resolve(entry.target, name)
        return _make(target, name, dict(options or {}), fixed=entry.options)

    def accepts(self, name: str, option: str) -> bool:
        """Return whether the evaluator ``name`` has the option ``option`` and leaves it free."""
        if ":" in name and name not in self._entries:
            return False
        entry = self[name]
        target = _resolve(entry.target, name)
        return option not in entry.options and inspect.isclass(target) and option in _option_names(target)

    def _discover(self) -> None:
        if self._discovered:
            return
        self._discovered = True
        for point in entry_points(group=self._group):
            origin = point.dist.name if point.dist is not None else point.value
            self.add(point.name, Entry(point.value, summary=f"from {origin}", origin=origin))

    def _unknown_name_message(self, name: str) -> str:
        if self.list_members(name):
            return f"{name} is the list {','.join(self.list_members(name))}; it cannot be a part of an expression"
        folded = {fold(n): n for n in reversed(self._entries)}
        near = [folded[n] for n in difflib.get_close_matches(fold(name), list(folded), n=3, cutoff=0.5)]
        near += [n for n in self._entries if name and n.startswith(fold(name)) and n not in near][: 3 - len(near)]
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(self._entries)}"
        if any(mark == "-" and self.find(name[:i]) is not None for i, mark in enumerate(name)):
            hint += " (a minus sign needs a space before it)"
        hint += "".join(f"; {short} is the list {','.join(names)}" for short, names in self._lists.items() if not near)
        return f"unknown evaluator {name!r}; {hint}; `capreward ls evaluators` shows all"


def _entry_of_path(name: str) -> Entry:
    return Entry(name, origin=name)


def _resolve(target: str | Callable[..., Any], name: str) -> Any:
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InputError(f"cannot import the evaluator {name!r} from {target}: {error}") from error
    return found


def _option_names(target: Callable[..., Any]) -> list[str]:
    """Return the names of the options; ``**options`` of a class stands for the options of its base class."""
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(target).parameters
    own = [n for n, p in parameters.items() if p.kind in kinds]
    if inspect.isclass(target) and any(p.kind == inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        holder = next(c for c in target.__mro__ if "__init__" in vars(c))
        own += [n for n in _option_names(holder.__mro__[1]) if n not in own]
    return own


def _make(target: Any, name: str, options: dict[str, Any], *, fixed: Mapping[str, Any]) -> Evaluator:
    from capreward.evaluators.base import Evaluator
    from capreward.evaluators.function import FunctionEvaluator, declaration_of

    if isinstance(target, Evaluator):
        if options:
            raise InputError(f"{name} is a ready evaluator and takes no options; found {', '.join(options)}")
        return target
    if inspect.isclass(target) and issubclass(target, Evaluator):
        _check_options(name, [n for n in _option_names(target) if n not in fixed], list(options))
        return target(**fixed, **options)
    if callable(target):
        return FunctionEvaluator(target, declaration_of(target, name), {**fixed, **options})
    raise InputError(f"{name} is a {type(target).__name__}; an evaluator is a class, a function or a ready Evaluator")


def _check_options(name: str, known: list[str], given: list[str]) -> None:
    wrong = [o for o in given if o not in known]
    if wrong:
        near = difflib.get_close_matches(wrong[0], known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}"
        raise InputError(f"{name} has no option {wrong[0]!r}; {hint}")
