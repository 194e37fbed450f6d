"""Captioners by what a user names: a folder or a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trainers.captioners.saving import load

if TYPE_CHECKING:
    from trainers.captioners.base import Captioner


def open_captioner(source: str) -> Captioner:
    """The captioner of a folder or of a run.

    Raises:
        InputError: none is found.
    """
    return load(Path(source))
