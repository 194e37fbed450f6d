"""The files of DiCO's released checkpoints: how they are recognised, their tensors, and the CLIP tower inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError, shorten

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.loading import Clip

CONFIG = "config.json"
MODEL_TYPE = "vision-encoder-decoder"
TOWER = "encoder.vision_encoder."
ENCODER = "encoder.encoder."
DECODER = "decoder.transformer."
ANCHOR = f"{DECODER}wte.weight"


@dataclass(frozen=True)
class DicoCheckpoint:
    """A checkpoint as it was read.

    Attributes:
        path: The path of the folder or file.
        tensors: The tensors under the checkpoint's own names.
        paths: The paths of the weights files.
        config: The content of ``config.json``; it is empty if there is none.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    paths: list[Path]
    config: Mapping[str, Any]

    def part(self, *names: str) -> Mapping[str, Any]:
        """Return a part of the configuration; it is empty if the configuration does not have it."""
        found: Any = self.config
        for name in names:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else {}


def is_dico(path: Path) -> bool:
    """Return whether a path is a DiCO checkpoint.

    This shows in a folder's configuration, in the configuration beside a file, or in the names of a file's tensors.

    Raises:
        InputError: A configuration or a file cannot be read.
    """
    from capreward.encoders.checkpoints.checkpoint import read_checkpoint
    from capreward.encoders.checkpoints.weight_files import WEIGHT_FILES

    if (path.is_dir() or path.name in WEIGHT_FILES) and _config(path):
        return True
    if path.suffix not in (".bin", ".safetensors") or not path.is_file():
        return False
    return ANCHOR in read_checkpoint(path, drop_unknown=True).tensors


def read_dico(path: Path) -> DicoCheckpoint:
    """Read a checkpoint folder or its weights file; no code in it is run.

    Raises:
        InputError: The checkpoint is damaged, or of another model.
    """
    from capreward.encoders.checkpoints.checkpoint import read_checkpoint
    from capreward.encoders.checkpoints.weight_files import read_tensors

    if path.is_dir():
        checkpoint, paths = read_tensors(path, drop_unknown=True)
    else:
        checkpoint, paths = read_checkpoint(path, drop_unknown=True), [path]
    if ANCHOR not in checkpoint.tensors:
        raise InputError(
            f"{path} is no DiCO checkpoint: none of its {len(checkpoint.tensors):,} tensors is {ANCHOR}; "
            f"found {shorten(list(checkpoint.tensors))}"
        )
    return DicoCheckpoint(path, checkpoint.tensors, paths, _config(path))


def dico_tower(released: DicoCheckpoint, **loading: Any) -> Clip:
    """Build the frozen image tower inside a checkpoint.

    Args:
        released: The checkpoint, from ``read_dico``.
        loading: The options ``precision``, ``device`` and ``decode``; others do not apply.

    Raises:
        InputError: The checkpoint has no image tower, or parts of it are missing.
    """
    from capreward.encoders.checkpoints.checkpoint import sha256_of
    from capreward.encoders.image_tower import image_tower

    tensors = {n.removeprefix(TOWER): t for n, t in released.tensors.items() if n.startswith(TOWER)}
    if not tensors:
        raise InputError(f"{released.path} has no image tower; name its weights with --tower, such as ViT-L-14:openai")
    return image_tower(
        {n.removeprefix("vision_model."): t for n, t in tensors.items()},
        str(released.path),
        name=released.path.resolve().name,
        sha256=sha256_of(released.paths),
        config=released.part("encoder", "vision_encoder"),
        **{name: loading[name] for name in ("precision", "device", "decode") if name in loading},
    )


def _config(path: Path) -> dict[str, Any]:
    """Return DiCO's configuration in a folder or beside a file; it is empty if there is none, or another model's."""
    from capreward.encoders.checkpoints.weight_files import read_json

    file = (path if path.is_dir() else path.parent) / CONFIG
    config = read_json(file) if file.is_file() else {}
    return config if config.get("model_type") == MODEL_TYPE else {}
