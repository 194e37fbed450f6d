"""What the options of all commands have in common, and the option that many of them share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class CommandOptions:
    """A record of options of a command, whose fields have the names by which click hands the options over.

    A record lies beside the function that adds its options to a command. The record of a whole command extends the
    records of the groups that the command has, so that a helper takes the group that it needs.
    """

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Make the record out of the keyword arguments that click hands to a command.

        Args:
            options: The keyword arguments; the record ignores those that it has no field for.
        """
        return cls(**{field.name: options[field.name] for field in fields(cls)})


plugin_option = click.option(
    "--plugin", multiple=True, type=click.Path(path_type=Path), help="Python file of @reward functions."
)
