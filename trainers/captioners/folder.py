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
    """The content of a captioner's folder, without its weights.

    Attributes:
        path: The captioner's own folder, also if a run's folder was named.
        kind: The name of its class, see ``class_of``.
        configuration: The configuration that the class builds a captioner from.
        decoding: The decoding settings of the captioner's authors; None if they are not known.
    """

    path: Path
    kind: str
    configuration: dict[str, Any]
    decoding: dict[str, Any] | None


def write_folder(
    folder: Path, configuration: Mapping[str, Any], vocabulary: Vocabulary, tensors: Mapping[str, Tensor]
) -> None:
    """Write a captioner; the configuration is written last, so that a folder that has one is complete.

    Args:
        folder: The folder; it is made if it is missing.
        configuration: The kind under the key ``captioner``, and everything that its class builds a captioner from.
        vocabulary: The vocabulary, which writes its own files.
        tensors: The weights by name.

    Raises:
        InputError: The folder cannot be written.
    """
    from safetensors.torch import save_file

    try:
        folder.mkdir(parents=True, exist_ok=True)
        words = vocabulary.save(folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from error
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_beside(folder / WEIGHTS, lambda path: save_file(plain, path, metadata={"format": "pt"}))
    described = {
        "captioner": configuration["captioner"],
        "capreward": __version__,
        "vocabulary": words,
        **configuration,
    }
    write_text_beside(folder / CONFIG, json.dumps(described, indent=2) + "\n")


def read_folder(folder: Path) -> SavedCaptioner:
    """Read the configuration of a captioner's folder.

    Args:
        folder: The folder of the captioner, or of a run (then its best captioner is read, else its last one).

    Raises:
        InputError: The folder holds no captioner or an unknown kind, or the configuration is damaged.
    """
    folder = captioner_folder(folder)
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
    """Return whether a folder is the folder of a captioner, or of a run that has one."""
    return any((candidate / CONFIG).is_file() for candidate in (folder, folder / "best", folder / "last"))


def captioner_folder(folder: Path) -> Path:
    """Return the captioner's folder that a path names: the path itself, or the best or last captioner of a run.

    Raises:
        InputError: None of these folders holds a captioner.
    """
    for candidate in (folder, folder / "best", folder / "last"):
        if (candidate / CONFIG).is_file():
            return candidate
    if not folder.exists():
        raise InputError(f"there is no captioner {folder}; name a folder with {CONFIG}, a run, or scenes")
    raise InputError(f"{folder} holds no captioner: neither it nor its best/ and last/ have a {CONFIG}")


def tensors_of(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Raises:
        InputError: The file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read as safetensors ({error}); copy it again") from error


def sizes_of(default: Sizes, given: Any) -> Sizes:
    """Return the sizes of a configuration.

    Args:
        default: The default sizes of this kind of captioner.
        given: The sizes of the configuration: a number for each name.

    Raises:
        InputError: ``given`` is no table of numbers, or names an unknown size.
    """
    known = {field.name for field in fields(default)}
    if (
        not isinstance(given, dict)
        or not set(given) <= known
        or not all(isinstance(v, (int, float)) for v in given.values())
    ):
        raise InputError(f"a captioner's sizes are {given!r}; they must be numbers for {', '.join(sorted(known))}")
    return replace(default, **given)


def fill(captioner: nn.Module, tensors: dict[str, Tensor], where: str) -> None:
    """Load weights into a captioner; there must be exactly one tensor for each parameter.

    Raises:
        InputError: A tensor is missing, unknown, of another shape, or holds a value that is not finite.
    """
    from capreward.encoders.checkpoints.nonfinite import refuse_nonfinite

    wanted = captioner.state_dict()
    missing = [n for n in wanted if n not in tensors]
    unknown = [n for n in tensors if n not in wanted]
    if missing or unknown:
        difference = f"lacks {missing[0]}" if missing else f"has {unknown[0]}, which this captioner has not"
        raise InputError(f"{where} {difference} ({len(missing)} missing, {len(unknown)} unknown)")
    wrong = [n for n, tensor in tensors.items() if tensor.shape != wanted[n].shape]
    if wrong:
        shape, wanted_shape = list(tensors[wrong[0]].shape), list(wanted[wrong[0]].shape)
        raise InputError(f"{where}: {wrong[0]} is {shape}, and the configuration says {wanted_shape}")
    refuse_nonfinite(tensors, where)
    captioner.load_state_dict(tensors)


def class_of(kind: str) -> Any:
    """Import and return the class of a kind of captioner."""
    module, _, name = KINDS[kind].partition(":")
    return getattr(import_module(module), name)
