"""The class of every command: an option that takes one value is given once."""

from __future__ import annotations

import copy
import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import click

from capreward.errors import InputError

F = TypeVar("F", bound=Callable[..., Any])

LONGEST = 40  # characters of a value in a message
TRAINERS = "trainers"  # a common name of folders, so it is looked at twice


class Command(click.Command):
    """A command whose single-value options are refused when given twice; click would take the last in silence."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments after a look at what was given more than once.

        Raises:
            InputError: An option was given more than once; the message names the first one with its values.
        """
        check_once(self, ctx, args)
        return super().parse_args(ctx, args)


class Group(click.Group):
    """A group of such commands, whose own options are given once as well."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments after a look at what was given more than once.

        Raises:
            InputError: An option was given more than once; the message names the first one with its values.
        """
        check_once(self, ctx, args)
        return super().parse_args(ctx, args)


def check_once(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    """Refuse an option that takes one value and was given several, or a flag that was given both ways.

    Raises:
        InputError: There is such an option; the message names the first one with its values.
    """
    if ctx.resilient_parsing:
        return
    single = [p for p in command.get_params(ctx) if isinstance(p, click.Option) and not (p.multiple or p.count)]
    # The same parameters, each of which keeps all it was given.
    listing = click.Command(command.name, params=[_listing(p) for p in command.get_params(ctx)], add_help_option=False)
    found: dict[str, Any] = listing.make_parser(ctx).parse_args(args=list(args))[0]
    if any(p.is_eager and found.get(str(p.name)) for p in single):
        return  # help and the like, whatever else is said
    for option in single:
        values = found.get(str(option.name)) or []
        if option.is_flag and len(set(values)) > 1:
            raise InputError(f"{option.opts[0]} and {option.secondary_opts[0]} were both given; give one of them")
        if not option.is_flag and len(values) > 1:
            times = "twice" if len(values) == 2 else f"{len(values)} times"
            told = " and ".join(_short(value) for value in values[:2]) + (", ..." if len(values) > 2 else "")
            raise InputError(f"{max(option.opts, key=len)} was given {times}: {told}; give it once")


def _listing(parameter: click.Parameter) -> click.Parameter:
    """Return a copy of a parameter that keeps all values that it was given."""
    made = copy.copy(parameter)
    if isinstance(made, click.Option) and not made.count:
        made.multiple = True
    return made


def _short(value: object) -> str:
    """Return the text of a value, cut where it is long."""
    text = str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def joined_option(*names: str, **settings: Any) -> Callable[[F], F]:
    """Return an option of a comma-separated list that adds up when it is given several times.

    The value of the option is None where it is not given.

    Args:
        names: The option has these names, as ``click.option`` takes them.
        settings: The option has these settings, as ``click.option`` takes them.
    """

    def join(ctx: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> str | None:
        return ",".join(values) if values else None

    return click.option(*names, multiple=True, callback=join, **settings)


def import_own(name: str) -> ModuleType:
    """Import a module of this project.

    Raises:
        InputError: Python finds another folder or file called ``trainers`` first, which hides ours.
    """
    if name.partition(".")[0] == TRAINERS:
        _check_trainers()
    return importlib.import_module(name)


def _check_trainers() -> None:
    """Refuse to go on where Python finds no package ``trainers`` beside ours, or finds another one first."""
    import capreward

    own = Path(capreward.__file__).resolve().parent.parent / TRAINERS
    spec = importlib.util.find_spec(TRAINERS)
    places = [] if spec is None else [*(spec.submodule_search_locations or []), spec.origin or ""]
    if any(Path(place).resolve() in (own, own / "__init__.py") for place in places if place):
        return
    if not places:
        raise InputError(f"capreward's package {TRAINERS} is not beside it in {own.parent}; install capreward again")
    other = Path(places[0])
    raise InputError(
        f"{other} hides the package {TRAINERS} that comes with capreward; start the command from another folder, take "
        f"{other.parent} off PYTHONPATH, or give it another name"
    )
