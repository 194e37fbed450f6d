"""Which weights an evaluator uses, and one encoder for all evaluators that use the same."""

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
    """Everything that decides which encoder is loaded, and how.

    Attributes:
        checkpoint: what ``load_clip`` takes.
        quick_gelu: activation, where the weights do not say.
        statistics: mean and standard deviation of pixels, by name, where the weights do not say.
        precision: ``fp32``, ``bf16``, ``fp16``.
        device: ``cpu``, ``cuda``, ``cuda:1``.
        lora_mlp: fold PAC-S++'s MLP factors as well.
        decode: ``careful`` or ``original``.
        batch_size: images per batch; found by trial where None.
        download: fetch what ``MODEL:TAG`` or ``hf-hub:`` names.
        base: weights whose image tower completes a file without one.
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
    """Encoders by their settings, loaded when first asked for; travels without them in a pickle."""

    def __init__(self) -> None:
        self._encoders: dict[EncoderSettings, Encoder] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"_encoders": {}}

    def encoder(self, settings: EncoderSettings) -> Encoder:
        """The encoder of these settings."""
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
    """The device that ``name`` means: ``auto`` is the GPU where there is one.

    Raises:
        InputError: a device that torch does not know or see.
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
    """The precision that ``name`` means on ``device``: ``auto`` is bf16 where the GPU has it, fp16 on older ones.

    Raises:
        InputError: an unknown precision.
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
    """The settings with the weights, activation and statistics of an entry of the catalogue where they are free."""
    return replace(
        settings,
        checkpoint=str(found.path),
        quick_gelu=found.quick_gelu if settings.quick_gelu is None else settings.quick_gelu,
        statistics=found.statistics if settings.statistics is None else settings.statistics,
    )
