"""The views of a file: one for each way to read it, and all of them together."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capreward.errors import InputError


@dataclass(frozen=True)
class LookOptions:
    """The user's options for the inspection of a file.

    Attributes:
        rows: The number of first rows to show.
        format: The name of the format of captions; None recognises it.
        id_column: The name of the column of ids in a table; None takes a usual name.
        caption_column: The names of the columns of captions in a table; empty takes a usual name.
        image_column: The name of the column of pictures in a table; None takes a usual name.
        split: The split to read, for files with splits; None if the user names none.
    """

    rows: int = 5
    format: str | None = None
    id_column: str | None = None
    caption_column: tuple[str, ...] = ()
    image_column: str | None = None
    split: str | None = None

    def reading_options(self) -> dict[str, Any]:
        """Return the keyword arguments for ``read_captions`` and ``read_references``."""
        names = ("format", "split", "id_column", "caption_column", "image_column")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class View:
    """One way to read a file.

    Attributes:
        role: The role of the file: ``captions``, ``references``, ``captions and references``, ``pictures``,
            ``features``, ``CLIP``, ...
        line: One line that says what was found.
        rows: The first rows, each by column; a list is shown on several lines.
        uses: The uses of the file, as pairs of a purpose and a command to type.
        notes: What a user should know, one sentence each.
        facts: The facts as plain values, for programs.
    """

    role: str
    line: str
    rows: tuple[Mapping[str, Any], ...] = ()
    uses: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        uses = [{"for": purpose, "type": command} for purpose, command in self.uses]
        shown = {"line": self.line, "rows": [dict(row) for row in self.rows], "uses": uses, "notes": list(self.notes)}
        return {"role": self.role, **shown, "facts": dict(self.facts)}


@dataclass
class Readings:
    """All ways to read a file.

    Attributes:
        file: The file as the user named it.
        views: The views of the ways that work.
        refusals: The messages of the ways that do not work, by role.
    """

    file: str
    views: list[View] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)

    def attempt(self, role: str, make: Callable[[], View | None]) -> View | None:
        """Keep the view that ``make`` returns, or the message of the InputError that it raises.

        Args:
            role: The role under which a message is kept.
            make: The function that makes the view; it returns None if the file has no such role.

        Returns:
            The view, or None.
        """
        try:
            view = make()
        except InputError as error:
            self.refusals[role] = str(error)
            return None
        if view is not None:
            self.views.append(view)
        return view

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return {"file": self.file, "views": [view.to_dict() for view in self.views], "refusals": self.refusals}


def command_text(*words: str | Path) -> str:
    """Return a command line of capreward, with quotes around words that a shell would change."""
    return " ".join(["capreward", *(shlex.quote(str(word)) for word in words)])


def count_text(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, in the singular or the plural."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
