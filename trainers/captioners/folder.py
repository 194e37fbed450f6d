"""Captioners as folders: ``captioner.json``, ``captioner.safetensors`` and the files of the vocabulary."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from capreward._version import __version__
from capreward.atomic_files import write_beside, write_text_beside
from capreward.errors import InputError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from torch import Tensor, nn

    from trainers.captioners.vocabulary import Vocabulary

Sizes = TypeVar("Sizes", bound="DataclassInstance")

CONFIG = "captioner.json"
WEIGHTS = "captioner.safetensors"
KINDS = {
    "grid": "trainers.captioners.grid:GridCaptioner",
    "clip-reward": "trainers.captioners.transformer:TransformerCaptioner",
}


@dataclass(frozen=True)
class SavedCaptioner:
    """What a captioner's folder says of it.

    Attributes:
        path: of the folder itself, where a run's was named.
        kind: the name of its class, see ``class_of``.
        configuration: what the class builds itself from.
        decoding: how its authors decode it; None where nobody says.
    """

    path: Path
    kind: str
    configuration: dict[str, Any]
    decoding: dict[str, Any] | None


def write_folder(
    folder: Path, configuration: Mapping[str, Any], vocabulary: Vocabulary, tensors: Mapping[str, Tensor]
) -> None:
    """Write a captioner; the configuration comes last, so that a folder with one is whole.

    Args:
        folder: made where it is missing.
        configuration: ``captioner``, the kind, and what its class builds itself from.
        vocabulary: writes its own files.
        tensors: by name.

    Raises:
        InputError: a folder that cannot be written.
    """
    from safetensors.torch import save_file

    try:
        folder.mkdir(parents=True, exist_ok=True)
        words = vocabulary.save(folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from error
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_beside(folder / WEIGHTS, lambda path: save_file(plain, path, metadata={"format": "pt"}))
    known = {"captioner": configuration["captioner"], "capreward": __version__, "vocabulary": words, **configuration}
    write_text_beside(folder / CONFIG, json.dumps(known, indent=2) + "\n")


def read_folder(folder: Path) -> SavedCaptioner:
    """Read what a captioner's folder says of it.

    Args:
        folder: of the captioner, or a run's folder (its best captioner, else its last).

    Raises:
        InputError: no captioner, an unknown one, or a damaged configuration.
    """
    folder = found_in(folder)
    try:
        configuration: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        kind = str(configuration["captioner"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / CONFIG} cannot be read as a captioner's ({error})") from error
    if kind not in KINDS:
        raise InputError(f"{folder / CONFIG} names the captioner {kind!r}; known are {', '.join(KINDS)}")
    decoding = configuration.get("decoding")
    if not isinstance(decoding, (dict, type(None))):
        raise InputError(f"{folder / CONFIG} is damaged: its decoding is {decoding!r}, no table of settings")
    return SavedCaptioner(folder, kind, configuration, decoding)


def holds_captioner(folder: Path) -> bool:
    """Whether a folder is a captioner's, or a run's with one."""
    return any((candidate / CONFIG).is_file() for candidate in (folder, folder / "best", folder / "last"))


def found_in(folder: Path) -> Path:
    """The captioner's folder that a path means: itself, or a run's best or last one.

    Raises:
        InputError: none of them.
    """
    for candidate in (folder, folder / "best", folder / "last"):
        if (candidate / CONFIG).is_file():
            return candidate
    if not folder.exists():
        raise InputError(f"there is no captioner {folder}; name a folder with {CONFIG}, a run, or scenes")
    raise InputError(f"{folder} holds no captioner: neither it nor its best/ and last/ have a {CONFIG}")


def tensors_of(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        InputError: missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read as safetensors ({error}); copy it again") from error


def sizes_of(default: Sizes, told: Any) -> Sizes:
    """The sizes that a configuration tells.

    Args:
        default: of the kind of captioner.
        told: by the configuration: a number for each name.

    Raises:
        InputError: no table of numbers, or an unknown size.
    """
    known = {field.name for field in fields(default)}
    if (
        not isinstance(told, dict)
        or not set(told) <= known
        or not all(isinstance(v, (int, float)) for v in told.values())
    ):
        raise InputError(f"a captioner's sizes are {told!r}; they must be numbers for {', '.join(sorted(known))}")
    return replace(default, **told)


def fill(captioner: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Load weights, every one of them and no other.

    Raises:
        InputError: what is missing, unknown, of another shape, or no number.
    """
    from capreward.encoders.checkpoints.nonfinite import refuse_nonfinite

    wanted = captioner.state_dict()
    missing = [n for n in wanted if n not in tensors]
    unknown = [n for n in tensors if n not in wanted]
    if missing or unknown:
        told = f"lacks {missing[0]}" if missing else f"has {unknown[0]}, which this captioner has not"
        raise InputError(f"{where} {told} ({len(missing)} missing, {len(unknown)} unknown)")
    wrong = [n for n, tensor in tensors.items() if tensor.shape != wanted[n].shape]
    if wrong:
        found, need = list(tensors[wrong[0]].shape), list(wanted[wrong[0]].shape)
        raise InputError(f"{where}: {wrong[0]} is {found}, and the configuration says {need}")
    refuse_nonfinite(tensors, where)
    captioner.load_state_dict(tensors)


def class_of(kind: str) -> Any:
    """The class of a kind of captioner, imported when it is asked for."""
    module, _, name = KINDS[kind].partition(":")
    return getattr(import_module(module), name)
