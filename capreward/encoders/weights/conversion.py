"""The conversion of any known layout to open_clip's: a folder with safetensors, configuration and a record."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward._version import __version__
from capreward.atomic_files import new_folder_beside
from capreward.encoders.checkpoints.checkpoint import sha256_of
from capreward.encoders.checkpoints.weight_files import HEAD_FILE, OPEN_CLIP_CONFIG, RECORD, WEIGHT_FILES
from capreward.encoders.model.clip_tokenizers import tokenizer_of
from capreward.encoders.model.open_clip_model import check_scale, fitting_tensors
from capreward.encoders.weights.resolution import read_weights
from capreward.encoders.weights.weights_request import Weights, WeightsRequest
from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.spec import EncoderSpec


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        folder: The new folder.
        spec: The specification of the source; its hash is the source's.
        sha256: The SHA-256 of the written weights file.
        parameters: The number of learnt numbers of the model.
    """

    folder: Path
    spec: EncoderSpec
    sha256: str
    parameters: int

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "folder": str(self.folder),
            "layout": self.spec.layout,
            "source": {"name": self.spec.name, "sha256": self.spec.sha256},
            "sha256": self.sha256,
            "parameters": self.parameters,
            "model_cfg": dict(self.spec.model_cfg),
            "preprocessing": str(self.spec.preprocessing),
            "notes": list(self.spec.notes),
        }


def convert(
    source: str | Path, out: str | Path, request: WeightsRequest | None = None, *, fp16: bool = False
) -> Conversion:
    """Write the weights that ``source`` names as a folder that open_clip loads as ``local-dir:OUT``.

    Numbers keep the precision they are stored in. The folder appears whole or not at all.

    Args:
        source: The weights, as :func:`~capreward.encoders.weights.resolution.read_weights` takes them.
        out: The folder to make; it must not exist, or be empty.
        request: What the user says about the weights.
        fp16: Whether to store floating-point numbers in 16 bits; this rounds those of a 32-bit source.

    Raises:
        InputError: The weights cannot be used, or the folder cannot be written.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists{' and is not empty' if out.is_dir() else ''}; name a new folder")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: there is no folder {out.absolute().parent}")
    request = request or WeightsRequest()
    weights = read_weights(source, request)
    if not weights.spec.model_cfg["vision_cfg"]:
        raise InputError(
            f"{source} has no image tower, which open_clip needs; give the CLIP that it was tuned from by --base"
        )
    tensors = fitting_tensors(weights.spec.model_cfg, weights.tensors, str(source))
    check_scale(tensors, str(source))
    tokenizer = tokenizer_of(weights.spec.model_cfg, weights.folder, str(source), download=request.download)
    with new_folder_beside(out) as beside:
        sha = write_folder(replace(weights, tensors=tensors), tokenizer, beside, fp16=fp16)
    return Conversion(out, weights.spec, sha, parameters_of(tensors))


def parameters_of(tensors: Mapping[str, Tensor]) -> int:
    """Return how many numbers a model learnt: all but the running statistics of batch norms."""
    running = ("running_mean", "running_var", "num_batches_tracked")
    return sum(t.numel() for n, t in tensors.items() if not n.endswith(running))


def write_folder(
    weights: Weights,
    tokenizer: Any,
    folder: Path,
    *,
    fp16: bool = False,
    record: Mapping[str, Any] | None = None,
) -> str:
    """Fill a folder with weights, configuration, vocabulary and a record of where the weights came from.

    Args:
        weights: The tensors in open_clip's names, and the grammar head if there is one.
        tokenizer: The tokenizer of the weights.
        folder: An existing folder.
        fp16: Whether to store floating-point numbers of the model in 16 bits.
        record: Further entries for ``capreward.json``.

    Returns:
        The hash of the weights file.

    Raises:
        OSError: The folder cannot be written.
    """
    path = folder / WEIGHT_FILES[0]
    _save(weights.tensors, path, fp16)
    written = {"file": path.name, "sha256": sha256_of([path])}
    if weights.head is not None:
        _save(weights.head, folder / HEAD_FILE, fp16=False)
    spec, image = weights.spec, weights.spec.preprocessing
    config = {
        "model_cfg": _with_own_vocabulary(weights, tokenizer, folder),
        "preprocess_cfg": {
            "size": [image.size, image.size],
            "mode": "RGB",
            "mean": list(image.mean),
            "std": list(image.std),
            "interpolation": image.interpolation,
            "resize_mode": image.resize,
        },
    }
    known = {
        "capreward": __version__,
        "layout": spec.layout,
        "source": {"name": spec.name, "sha256": spec.sha256},
        "weights": written,
        "notes": list(spec.notes),
        **(record or {}),
    }
    for name, content in ((OPEN_CLIP_CONFIG, config), (RECORD, known)):
        (folder / name).write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return str(written["sha256"])


def _save(tensors: Mapping[str, Tensor], path: Path, fp16: bool) -> None:
    import torch
    from safetensors.torch import save_file

    def own(tensor: Tensor) -> Tensor:
        kept = tensor.half() if fp16 and tensor.is_floating_point() else tensor
        return kept.clone(memory_format=torch.contiguous_format)  # safetensors refuses tensors that share memory

    save_file({name: own(tensor) for name, tensor in tensors.items()}, path, metadata={"format": "pt"})
    path.chmod(0o644)


def _with_own_vocabulary(weights: Weights, tokenizer: Any, folder: Path) -> dict[str, Any]:
    """Return the architecture; copy a vocabulary file of its own into the folder."""
    model_cfg = dict(weights.spec.model_cfg)
    text = dict(model_cfg["text_cfg"])
    settings = dict(text.get("tokenizer_kwargs") or {})
    if "bpe_path" in settings:
        path = (weights.folder or Path()) / str(settings["bpe_path"])
        shutil.copyfile(path, folder / path.name)
        text["tokenizer_kwargs"] = {**settings, "bpe_path": path.name}
        model_cfg["text_cfg"] = text
    elif text.get("hf_tokenizer_name"):
        tokenizer.save_pretrained(str(folder))
    return model_cfg
