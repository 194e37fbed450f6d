"""The types of all readers of weights: what a user says about weights, and the weights as they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from capreward.encoders.spec import STATISTICS, EncoderSpec
from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

DECODES = ("careful", "original")


@dataclass(frozen=True)
class WeightsRequest:
    """What the user says about weights that their file may not state.

    Attributes:
        quick_gelu: Whether the activation is QuickGELU; None takes that of the file's configuration, else OpenAI's.
        statistics: The image statistics ``openai``, ``half`` or ``imagenet``; None as for ``quick_gelu``.
        decode: ``careful`` or ``original``, see :class:`~capreward.encoders.spec.Preprocessing`.
        lora_mlp: Whether to fold PAC-S++'s LoRA factors of the MLP too.
        drop_unknown: Whether to leave out objects of a pickle that are neither tensors nor plain containers.
        download: Whether to fetch ``MODEL:TAG`` and ``hf-hub:`` weights that are not on this computer.
        base: Weights whose image tower completes a file that has no image tower.
    """

    quick_gelu: bool | None = None
    statistics: str | None = None
    decode: str = "careful"
    lora_mlp: bool = False
    drop_unknown: bool = False
    download: bool = False
    base: str | Path | None = None

    def check(self) -> None:
        """Refuse unknown names.

        Raises:
            InputError: The message shows the unknown name and the known ones.
        """
        if self.statistics is not None and self.statistics not in STATISTICS:
            raise InputError(f"statistics={self.statistics!r} is none of {', '.join(STATISTICS)}")
        if self.decode not in DECODES:
            raise InputError(f"decode={self.decode!r} is none of {', '.join(DECODES)}")


@dataclass(frozen=True)
class Weights:
    """Tensors with all that is known about them.

    Attributes:
        spec: The name, layout, hash, architecture, preprocessing and notes.
        tensors: The tensors under open_clip's names.
        head: The grammar head of CLIP-Caption-Reward, or None.
        folder: The folder with the tokenizer's files, or None.
    """

    spec: EncoderSpec
    tensors: dict[str, Tensor]
    head: dict[str, Tensor] | None = None
    folder: Path | None = None


# A function that reads the weights that complete others, like :func:`capreward.encoders.weights.source.read_weights`.
Reader = Callable[[str | Path, WeightsRequest], Weights]
