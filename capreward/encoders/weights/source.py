"""The reader of every kind of weights name that a user may give; it builds no module."""

from __future__ import annotations

from pathlib import Path

from capreward.encoders.weights import folders, tags
from capreward.encoders.weights.checkpoint_weights import read_file
from capreward.encoders.weights.types import Weights, WeightsRequest
from capreward.errors import InputError


def read_weights(source: str | Path, request: WeightsRequest | None = None) -> Weights:
    """Read the weights that ``source`` names.

    Args:
        source: A weights file; a folder of open_clip (``open_clip_config.json``) or transformers (``config.json``),
            also as ``local-dir:FOLDER``; open_clip's ``MODEL:TAG``; ``hf-hub:ORGANISATION/NAME``; or one of
            ``scenes-clip``, ``scenes-pacs``, ``scenes-grammar``, ``scenes-judge``, which ship with capreward.
        request: What the user says about the weights.

    Raises:
        InputError: Nothing has this name, or the weights cannot be used.
    """
    request = request or WeightsRequest()
    request.check()
    text = str(source)
    if text.startswith("hf-hub:"):
        return folders.read_folder(tags.hub_folder(text, download=request.download), request, read_weights, name=text)
    if (shipped := folders.shipped_folder(text)) is not None:
        return folders.read_folder(shipped, request, read_weights, name=text)
    path = Path(text.removeprefix("local-dir:")).expanduser()
    if path.is_dir():
        return folders.read_folder(path, request, read_weights)
    if path.exists():
        return folders.read_beside_config(path, request, read_weights) or read_file(path, request, read_weights)
    if text.startswith("local-dir:"):
        raise InputError(f"there is no folder {path}")
    if tags.names_model(text):
        return tags.read_tag(text, request)
    raise InputError(
        f"there is no weights file or folder {text}; name one, open_clip's MODEL:TAG (ViT-B-32:openai), "
        "or hf-hub:ORGANISATION/NAME"
    )
