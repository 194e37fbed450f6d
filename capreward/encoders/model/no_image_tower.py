"""What stands where a checkpoint has no image tower."""

from __future__ import annotations

from typing import NoReturn

from torch import nn

from capreward.errors import InputError


class NoImageTower(nn.Module):
    """Refuses images in one sentence.

    Args:
        name: of the weights.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, *_: object) -> NoReturn:
        """Say what is missing.

        Raises:
            InputError: always.
        """
        raise InputError(f"{self.name} has no image tower; give the CLIP that it was tuned from by base= or --base")
