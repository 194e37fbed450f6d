"""The stand-in for an image tower that a checkpoint lacks."""

from __future__ import annotations

from typing import NoReturn

from torch import nn

from capreward.errors import InputError


class NoImageTower(nn.Module):
    """Refuses images with one sentence.

    Args:
        name: The name of the weights.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, *_: object) -> NoReturn:
        """Raise the error that says what is missing.

        Raises:
            InputError: The call always fails.
        """
        raise InputError(f"{self.name} has no image tower; give the CLIP that it was tuned from by base= or --base")
