"""The protocol that every kind of picture follows, wherever the picture is."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from PIL import Image


@runtime_checkable
class Picture(Protocol):
    """A picture of ``Samples.images``: it can be pickled, is small if possible, and ``str`` names it in messages."""

    @property
    def key(self) -> Hashable:
        """The identity of the picture: two pictures with equal keys are the same picture and are encoded once."""
        ...

    def open(self) -> Image.Image:
        """Return the picture as PIL decodes it.

        Raises:
            BrokenImage: If the picture cannot be decoded.
        """
        ...
