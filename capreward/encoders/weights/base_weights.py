"""Folders that leave the image tower to the weights that they were tuned from: a text tower is half the size."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.encoders.weights.types import WeightsRequest
from capreward.errors import InputError

if TYPE_CHECKING:
    from capreward.encoders.weights.types import Reader, Weights

BASE = "base"  # of a folder's record: {"source": "scenes-clip", "sha256": "..."}
_IMAGES = "visual."


@dataclass(frozen=True)
class Base:
    """Which weights complete a folder.

    Attributes:
        source: as :func:`~capreward.encoders.weights.source.read_weights` takes it.
        sha256: of those weights, as their specification has it.
    """

    source: str
    sha256: str


def base_in(record: Mapping[str, Any], where: str) -> Base | None:
    """The base that a folder's record names; None where it names none.

    Args:
        record: of ``capreward.json``.
        where: names the folder in messages.

    Raises:
        InputError: an entry without source or sha256.
    """
    found = record.get(BASE)
    if found is None:
        return None
    if not isinstance(found, dict) or not all(isinstance(found.get(n), str) for n in ("source", "sha256")):
        raise InputError(f'{where}/capreward.json: its base is no object with "source" and "sha256"')
    return Base(found["source"], found["sha256"])


def joined_digest(own: str, base: str) -> str:
    """The hash of weights and of those that complete them."""
    return hashlib.sha256(f"{own}\n{base}".encode()).hexdigest()


def completed(weights: Weights, recorded: Base | None, request: WeightsRequest, where: str, read: Reader) -> Weights:
    """Weights with the image tower of their base, as far as they lack one; themselves where nothing is to be added.

    Args:
        weights: of a folder.
        recorded: the base that its record names.
        request: of the user; its ``base`` says where the base is now.
        where: names the folder in messages.
        read: reads the base.

    Raises:
        InputError: a base that is not found, or another than the record's.
    """
    whole = any(n.startswith(_IMAGES) for n in weights.tensors)
    if recorded is None and (whole or request.base is None):
        return weights
    source = request.base if request.base is not None or recorded is None else recorded.source
    try:
        base = read(str(source), WeightsRequest(download=request.download))
    except InputError as error:
        raise InputError(
            f"{where} has the image tower of {source}, which cannot be read ({error}); give it by base= or --base"
        ) from error
    if recorded is not None and base.spec.sha256 != recorded.sha256:
        raise InputError(
            f"{where} was tuned from {recorded.source} with sha256 {recorded.sha256[:12]}, and {source} has "
            f"{base.spec.sha256[:12]}; give the right weights by base= or --base"
        )
    return _joined(weights, base, named=recorded is not None)


def _joined(weights: Weights, base: Weights, *, named: bool) -> Weights:
    """The image tower of ``base``, under the tensors that the weights have of it themselves."""
    images = {n: t for n, t in base.tensors.items() if n.startswith(_IMAGES)}
    own = weights.spec
    untouched = not any(n in weights.tensors for n in images)
    same = (own.quick_gelu, own.preprocessing) == (base.spec.quick_gelu, base.spec.preprocessing)
    spec = replace(
        own,
        name=own.name if named else f"{own.name}+{base.spec.name}",
        sha256=joined_digest(own.sha256, base.spec.sha256),
        images=base.spec if untouched and same else None,
    )
    vocabulary = (own.model_cfg["text_cfg"].get("tokenizer_kwargs") or {}).get("bpe_path")
    beside = weights.folder or Path()
    folder = weights.folder if vocabulary is None or (beside / str(vocabulary)).is_file() else base.folder
    return replace(weights, spec=spec, tensors={**images, **weights.tensors}, folder=folder)
