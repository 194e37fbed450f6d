"""What a user asks of weights, and weights as they are read: what every reader of them takes and gives."""

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
    """What the user says about weights that their file may not say.

    Attributes:
        quick_gelu: activation; None leaves it to the file's configuration, or to OpenAI's.
        statistics: image statistics ``openai``, ``half`` or ``imagenet``; None likewise.
        decode: ``careful`` or ``original``, see :class:`~capreward.encoders.spec.Preprocessing`.
        lora_mlp: fold PAC-S++'s MLP factors too.
        drop_unknown: leave out objects of a pickle that are neither tensors nor plain containers.
        download: fetch ``MODEL:TAG`` and ``hf-hub:`` weights that are not on this computer.
        base: weights whose image tower completes a file that has none.
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
            InputError: which one, and the names there are.
        """
        if self.statistics is not None and self.statistics not in STATISTICS:
            raise InputError(f"statistics={self.statistics!r} is none of {', '.join(STATISTICS)}")
        if self.decode not in DECODES:
            raise InputError(f"decode={self.decode!r} is none of {', '.join(DECODES)}")


@dataclass(frozen=True)
class Weights:
    """Tensors with all that is known about them.

    Attributes:
        spec: name, layout, hash, architecture, preprocessing and notes.
        tensors: in open_clip's names.
        head: CLIP-Caption-Reward's grammar head, or None.
        folder: where tokenizer files are looked for, or None.
    """

    spec: EncoderSpec
    tensors: dict[str, Tensor]
    head: dict[str, Tensor] | None = None
    folder: Path | None = None


# Reads the weights that complete others, as :func:`capreward.encoders.weights.source.read_weights` does.
Reader = Callable[[str | Path, WeightsRequest], Weights]
