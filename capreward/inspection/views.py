"""One way to understand a file, and all the ways together."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from capreward.errors import InputError


@dataclass(frozen=True)
class LookOptions:
    """What the user says about a file, and how much of it is shown.

    Attributes:
        rows: the first so many are shown.
        format: of captions.
        id_column: of a table.
        caption_column: of a table, any number.
        image_column: of a table.
        split: of a file that has several.
    """

    rows: int = 5
    format: str | None = None
    id_column: str | None = None
    caption_column: tuple[str, ...] = ()
    image_column: str | None = None
    split: str | None = None

    def reading_options(self) -> dict[str, Any]:
        """Keyword arguments of ``read_captions`` and ``read_references``."""
        names = ("format", "split", "id_column", "caption_column", "image_column")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class View:
    """One way to understand a file.

    Attributes:
        role: ``captions``, ``references``, ``captions and references``, ``pictures``, ``features``, ``CLIP``, ...
        line: what was found, in one line.
        rows: the first ones, by column; a list stands for several lines.
        uses: what for, and the command to type.
        notes: what a user should know, one sentence each.
        facts: plain values, for machines.
    """

    role: str
    line: str
    rows: tuple[Mapping[str, Any], ...] = ()
    uses: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        uses = [{"for": purpose, "type": command} for purpose, command in self.uses]
        shown = {"line": self.line, "rows": [dict(row) for row in self.rows], "uses": uses, "notes": list(self.notes)}
        return {"role": self.role, **shown, "facts": dict(self.facts)}


@dataclass
class Readings:
    """All the ways to understand a file.

    Attributes:
        file: as the user named it.
        views: the ways that work.
        refusals: of the others, by role: the sentence.
    """

    file: str
    views: list[View] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)

    def attempt(self, role: str, make: Callable[[], View | None]) -> View | None:
        """Keep the view that ``make`` gives, or the sentence by which it refuses."""
        try:
            view = make()
        except InputError as error:
            self.refusals[role] = str(error)
            return None
        if view is not None:
            self.views.append(view)
        return view

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"file": self.file, "views": [view.to_dict() for view in self.views], "refusals": self.refusals}


def command_text(*words: str | Path) -> str:
    """A command line of capreward, with what a shell would change in quotes."""
    return " ".join(["capreward", *(shlex.quote(str(word)) for word in words)])


def count_text(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
