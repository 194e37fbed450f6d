"""Named classes with options, which ``optimizer`` and ``objective`` of a configuration stand for."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Collection, Iterable, Mapping
from importlib import import_module
from typing import Any

from capreward.errors import InputError

Table = Mapping[str, tuple[str, str]]  # from a name to "module:attribute" and a line about it


def option_names(kind: type[Any]) -> list[str]:
    """Return the options of a class, in the order of its constructor."""
    return [name for name in inspect.signature(kind).parameters if name != "self"]


def options_of(thing: object) -> dict[str, Any]:
    """Return the constructor's arguments as they are now; attributes have their names.

    Raises:
        InputError: An option has the name of a method, or no attribute of its name: its value cannot be recorded.
    """
    names = option_names(type(thing))
    hidden = [name for name in names if inspect.ismethod(getattr(thing, name, None))]
    lost = [name for name in names if not hasattr(thing, name)]
    if hidden or lost:
        own = type(thing).__name__
        reason = f"{hidden[0]!r} is a method of {own} as well" if hidden else f"{own} has no attribute {lost[0]!r}"
        raise InputError(
            f"the option {(hidden + lost)[0]} cannot be recorded, for {reason}; let options() say its value"
        )
    return {name: getattr(thing, name) for name in names}


def check_names(whose: str, names: Iterable[str], reserved: Collection[str]) -> None:
    """Refuse statistics under names that every run uses for its own statistics, because they would be lost.

    Args:
        whose: The owner of the statistics in messages, such as ``the optimizer scst``.
        names: The names of the statistics.
        reserved: Reserved names, and beginnings of reserved names that end in ``/``.

    Raises:
        InputError: A name is reserved; the message names the first such name.
    """
    starts = tuple(name for name in reserved if name.endswith("/"))
    for name in names:
        if name in reserved or name.startswith(starts):
            own = whose.rpartition(" ")[2]
            raise InputError(f"{whose} tells {name!r}, which every run tells itself; call it {own}_{name} or otherwise")


def find(what: str, name: str, table: Table) -> type[Any]:
    """Return the class of a name.

    Args:
        what: The kind of the named class in messages.
        name: The name in the table.
        table: The table of all names.

    Raises:
        InputError: The name is unknown; the message has suggestions.
    """
    if name not in table:
        near = difflib.get_close_matches(name, table, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(table)}"
        raise InputError(f"unknown {what} {name!r}; {hint}")
    module, _, attribute = table[name][0].partition(":")
    kind: type[Any] = getattr(import_module(module), attribute)
    return kind


def make(what: str, name: str, table: Table, options: Mapping[str, Any] | None = None) -> Any:
    """Make an instance of a named class; options that are not given take their defaults.

    Raises:
        InputError: A name or an option is unknown, or the class refuses a value.
    """
    kind = find(what, name, table)
    known = option_names(kind)
    for option in options or {}:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known) or 'none'}"
            raise InputError(f"the {what} {name} has no option {option!r}; {hint}")
    instance = kind(**(options or {}))
    instance.options()  # what cannot be recorded is refused before any work
    return instance
