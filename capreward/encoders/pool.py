"""The encoders in use: their settings, and one encoder for all evaluators with the same settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError

if TYPE_CHECKING:
    from capreward.encoders.encoder import Encoder

PRECISIONS = ("fp32", "bf16", "fp16", "auto")


@dataclass(frozen=True)
class EncoderSettings:
    """All settings that decide which encoder is loaded, and how.

    Attributes:
        checkpoint: The weights, as ``load_clip`` takes them.
        quick_gelu: Whether the activation is QuickGELU, for weights that do not state theirs.
        statistics: The name of the pixels' mean and standard deviation, for weights that do not state theirs.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        lora_mlp: Whether to fold PAC-S++'s LoRA factors of the MLP too.
        decode: How images are decoded: ``careful`` or ``original``.
        batch_size: The number of images per batch; None finds it by trial.
        download: Whether to fetch the weights that ``MODEL:TAG`` or ``hf-hub:`` names.
        base: Weights whose image tower completes a file that has no image tower.
    """

    checkpoint: str
    quick_gelu: bool | None = None
    statistics: str | None = None
    precision: str = "fp32"
    device: str = "cpu"
    lora_mlp: bool = False
    decode: str = "careful"
    batch_size: int | None = None
    download: bool = False
    base: str | None = None


class EncoderPool:
    """Encoders by their settings; each is loaded when it is first asked for, and a pickle holds none of them."""

    def __init__(self) -> None:
        self._encoders: dict[EncoderSettings, Encoder] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_encoders": {}}

    def encoder(self, settings: EncoderSettings) -> Encoder:
        """Return the encoder of these settings."""
        if settings not in self._encoders:
            from capreward.encoders.encoder import Encoder
            from capreward.encoders.loading import load_clip

            clip = load_clip(
                settings.checkpoint,
                quick_gelu=settings.quick_gelu,
                statistics=settings.statistics,
                precision=settings.precision,
                device=settings.device,
                lora_mlp=settings.lora_mlp,
                download=settings.download,
                decode=settings.decode,
                base=settings.base,
            )
            self._encoders[settings] = Encoder(clip, precision=settings.precision, batch_size=settings.batch_size)
        return self._encoders[settings]


def device_of(name: str) -> str:
    """Return the device that ``name`` means; ``auto`` is the GPU if there is one.

    Raises:
        InputError: torch does not know or does not see the device.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"device={name!r} is none that torch knows; write auto, cpu, cuda or cuda:1") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device={name!r} is not supported; write auto, cpu, cuda or cuda:1")
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise InputError(f"device={name}: torch sees {torch.cuda.device_count()} CUDA devices here; write device=cpu")
    return str(device)


def precision_of(name: str, device: str) -> str:
    """Return the precision that ``name`` means on ``device``; ``auto`` is bf16 if the GPU has it, fp16 on older GPUs.

    Raises:
        InputError: The precision is unknown.
    """
    if name not in PRECISIONS:
        raise InputError(f"precision={name!r} is none of {', '.join(PRECISIONS)}")
    if name != "auto":
        return name
    if not device.startswith("cuda"):
        return "fp32"
    import torch

    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


def share(evaluators: Iterable[Any]) -> None:
    """Let evaluators, and the terms of combined ones, load each encoder once."""
    pool = EncoderPool()
    for evaluator in evaluators:
        for term in [evaluator, *getattr(evaluator, "terms", {}).values()]:
            if isinstance(getattr(term, "pool", None), EncoderPool):
                term.pool = pool


def with_named_weights(settings: EncoderSettings, found: Any) -> EncoderSettings:
    """Return the settings with weights, activation and statistics of a catalogue entry, where they are not fixed."""
    return replace(
        settings,
        checkpoint=str(found.path),
        quick_gelu=found.quick_gelu if settings.quick_gelu is None else settings.quick_gelu,
        statistics=found.statistics if settings.statistics is None else settings.statistics,
    )
