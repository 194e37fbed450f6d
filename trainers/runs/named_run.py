"""A run, or one of its captioners, under the name that tables and reports give it."""

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
        name: The name in tables.
        path: The path, as ``open_captioner`` takes it.
        run: The run's folder, if a run was named.
        config: The configuration of the run that the captioner comes from, if it is known.
    """

    name: str
    path: str
    run: RunFolder | None = None
    config: RunConfig | None = None
