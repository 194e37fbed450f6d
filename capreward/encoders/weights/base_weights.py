"""Base weights: a folder may hold a text tower alone, at half the size, and take the image tower from its base."""

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

BASE = "base"  # the entry of a folder's record: {"source": "scenes-clip", "sha256": "..."}
_IMAGES = "visual."


@dataclass(frozen=True)
class Base:
    """The weights that complete a folder.

    Attributes:
        source: The weights, as :func:`~capreward.encoders.weights.source.read_weights` takes them.
        sha256: The SHA-256 of those weights, as their specification states it.
    """

    source: str
    sha256: str


def base_in(record: Mapping[str, Any], where: str) -> Base | None:
    """Return the base that a folder's record names; None where it names none.

    Args:
        record: The content of ``capreward.json``.
        where: The name of the folder in messages.

    Raises:
        InputError: The entry lacks source or sha256.
    """
    found = record.get(BASE)
    if found is None:
        return None
    if not isinstance(found, dict) or not all(isinstance(found.get(n), str) for n in ("source", "sha256")):
        raise InputError(f'{where}/capreward.json: its base is no object with "source" and "sha256"')
    return Base(found["source"], found["sha256"])


def joined_digest(own: str, base: str) -> str:
    """Return the hash of weights together with the weights that complete them."""
    return hashlib.sha256(f"{own}\n{base}".encode()).hexdigest()


def with_base_tower(
    weights: Weights, recorded: Base | None, request: WeightsRequest, where: str, read: Reader
) -> Weights:
    """Return weights with the image tower of their base; weights that lack nothing are returned as they are.

    Args:
        weights: The weights of a folder.
        recorded: The base that the folder's record names.
        request: What the user says about the weights; its ``base`` says where the base is now.
        where: The name of the folder in messages.
        read: A function that reads the base.

    Raises:
        InputError: The base is not found, or is not the one in the record.
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
    return _joined_weights(weights, base, named=recorded is not None)


def _joined_weights(weights: Weights, base: Weights, *, named: bool) -> Weights:
    """Return weights with the image tower of ``base``; tensors that the weights have themselves win."""
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
