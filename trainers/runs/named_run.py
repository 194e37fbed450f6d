"""A run, or a captioner of one, under the name that tables and reports give it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainers.runs.config import RunConfig
    from trainers.runs.folder import RunFolder


@dataclass(frozen=True)
class NamedRun:
    """A captioner as it was named, with the run that it comes from.

    Attributes:
        name: for tables.
        path: what ``open_captioner`` takes.
        run: the run's folder, where a run was named.
        config: of the run that the captioner comes from, where it is known.
    """

    name: str
    path: str
    run: RunFolder | None = None
    config: RunConfig | None = None
