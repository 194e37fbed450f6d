"""Captioners as folders: ``captioner.json``, ``captioner.safetensors`` and the files of the vocabulary."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from capreward._version import __version__
from capreward.atomic_files import write_beside, write_text_beside
from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.captioners.base import Captioner
    from trainers.captioners.grid import GridSizes
    from trainers.captioners.transformer import TransformerSizes

Sizes = TypeVar("Sizes", "GridSizes", "TransformerSizes")

CONFIG = "captioner.json"
WEIGHTS = "captioner.safetensors"
KINDS = {
    "grid": "trainers.captioners.grid:GridCaptioner",
    "clip-reward": "trainers.captioners.transformer:TransformerCaptioner",
}


def save(captioner: Captioner, folder: Path) -> None:
    """Write a captioner; the configuration comes last, so that a folder with one is whole.

    Raises:
        InputError: a folder that cannot be written.
    """
    from safetensors.torch import save_file

    try:
        folder.mkdir(parents=True, exist_ok=True)
        vocabulary = captioner.vocabulary.save(folder)
    except OSError as error:
        raise InputError(f"cannot write {folder}: {error.strerror}") from error
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in captioner.state_dict().items()}
    write_beside(folder / WEIGHTS, lambda path: save_file(tensors, path, metadata={"format": "pt"}))
    told = {
        "captioner": captioner.kind,
        "capreward": __version__,
        "vocabulary": vocabulary,
        **captioner.configuration(),
        **({} if captioner.decoding is None else {"decoding": captioner.decoding}),
    }
    write_text_beside(folder / CONFIG, json.dumps(told, indent=2) + "\n")


def load(folder: Path, **options: Any) -> Captioner:
    """Read a captioner that ``save`` wrote, in evaluation mode.

    Args:
        folder: of the captioner, or a run's folder (its best captioner, else its last).
        options: of :func:`trainers.captioners.towers.tower_of`, such as ``source`` where the tower's weights lie
            elsewhere now, or ``device``.

    Raises:
        InputError: no captioner, a damaged one, or its tower is not found.
    """
    from trainers.captioners.vocabulary import vocabulary_of

    folder = found_in(folder)
    try:
        told: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        kind = str(told["captioner"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder / CONFIG} cannot be read as a captioner's ({error})") from error
    if kind not in KINDS:
        raise InputError(f"{folder / CONFIG} names the captioner {kind!r}; known are {', '.join(KINDS)}")
    try:
        captioner = _class_of(kind).rebuild(told, vocabulary_of(told["vocabulary"], folder), **options)
    except KeyError as error:
        raise InputError(f"{folder / CONFIG} is damaged: it has no {error}") from error
    decoding = told.get("decoding")
    if not isinstance(decoding, (dict, type(None))):
        raise InputError(f"{folder / CONFIG} is damaged: its decoding is {decoding!r}, no table of settings")
    captioner.decoding = decoding
    fill(captioner, tensors_of(folder / WEIGHTS), str(folder / WEIGHTS))
    return captioner.eval()


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


def fill(captioner: Captioner, tensors: dict[str, Tensor], where: str) -> None:
    """Load weights, every one of them and no other.

    Raises:
        InputError: what is missing, unknown, of another shape, or no number.
    """
    from capreward.encoders.checkpoints.nonfinite import refuse_unfinite

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
    refuse_unfinite(tensors, where)
    captioner.load_state_dict(tensors)


def _class_of(kind: str) -> type[Captioner]:
    from importlib import import_module

    module, _, name = KINDS[kind].partition(":")
    found: type[Captioner] = getattr(import_module(module), name)
    return found
