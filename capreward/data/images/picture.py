"""What every picture can do, wherever it is."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from PIL import Image


@runtime_checkable
class Picture(Protocol):
    """What ``Samples.images`` holds: picklable, small if it can be, and named by ``str`` in messages."""

    @property
    def key(self) -> Hashable:
        """Two pictures with one key are the same picture and are encoded once."""
        ...

    def open(self) -> Image.Image:
        """The decoded picture, as PIL has it.

        Raises:
            BrokenImage: it cannot be decoded.
        """
        ...
