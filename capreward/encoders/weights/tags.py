"""Weights by name: open_clip's MODEL:TAG and the Hugging Face hub's hf-hub:NAME."""

from __future__ import annotations

import copy
import difflib
import re
from pathlib import Path
from typing import Any

from capreward.encoders.checkpoints.checkpoint import read_checkpoint, sha256_of
from capreward.encoders.checkpoints.folder import HF_CONFIG, OPEN_CLIP_CONFIG, WEIGHT_FILES
from capreward.encoders.model.backend import import_open_clip
from capreward.encoders.weights.folders import weights_of_config
from capreward.encoders.weights.types import Weights, WeightsRequest
from capreward.errors import InputError, shorten

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]+:[A-Za-z0-9_.-]+")
_TOKENIZER_FILES = re.compile(r"(tokenizer.*\.json|vocab\.\w+|merges\.txt|special_tokens_map\.json|.*\.model)")


def names_model(source: str) -> bool:
    """Return whether a source has the form ``MODEL:TAG`` or ``hf-hub:NAME``, which names what to fetch."""
    return source.startswith("hf-hub:") or (not source.startswith("local-dir:") and _NAME.fullmatch(source) is not None)


def read_tag(source: str, request: WeightsRequest) -> Weights:
    """Read open_clip's ``MODEL:TAG`` from its cache, or fetch it if ``request.download`` is set.

    The activation is the tag's: OpenAI's and other weights were trained with QuickGELU, although open_clip's plain
    ``ViT-B-32`` states GELU and only warns.

    Raises:
        InputError: The model or tag is unknown, or the weights are not on this computer.
    """
    open_clip = import_open_clip()
    model, _, tag = source.partition(":")
    model = model.replace("/", "-")
    model_cfg = open_clip.get_model_config(model)
    if model_cfg is None:
        near = difflib.get_close_matches(model, open_clip.list_models(), n=1)
        hint = f"did you mean {near[0]}?" if near else "open_clip.list_models() lists them"
        raise InputError(f"there is no file {source}, and open_clip has no model {model}; {hint}")
    tag_cfg = open_clip.get_pretrained_cfg(model, tag)
    if not tag_cfg:
        tags = open_clip.list_pretrained_tags_by_model(model)
        raise InputError(f"open_clip has no weights {tag} of {model}; it has {shorten(tags, 12) or 'none'}")
    path = find_tag(tag_cfg) or _fetch_tag(source, tag_cfg, request)
    found = copy.deepcopy(model_cfg)
    found["quick_gelu"] = bool(found.get("quick_gelu") or tag_cfg.get("quick_gelu"))
    checkpoint = read_checkpoint(path, drop_unknown=request.drop_unknown)
    tensors = checkpoint.tensors
    if checkpoint.kind == "torchscript":
        tensors = {n: t for n, t in tensors.items() if n not in ("input_resolution", "context_length", "vocab_size")}
    name, layout = f"{model}:{tag}", "openai" if checkpoint.kind == "torchscript" else "open_clip"
    return weights_of_config(tensors, found, tag_cfg, request, name=name, layout=layout, sha256=sha256_of([path]))


def find_tag(tag_cfg: dict[str, Any]) -> Path | None:
    """Return the file of an open_clip pretrained configuration in this computer's caches, without a network request."""
    if tag_cfg.get("file"):
        return Path(tag_cfg["file"])
    if hub := tag_cfg.get("hf_hub"):
        repository, _, file = hub.rpartition("/")
        for name in _hub_names(file):
            if (path := _cached_file(repository, name)) is not None:
                return path
    if url := tag_cfg.get("url"):
        path = Path.home() / ".cache" / "clip" / str(url).rsplit("/", 1)[-1]
        if path.is_file():
            return path
    return None


def hub_folder(source: str, *, download: bool) -> Path:
    """Return the cached folder of ``hf-hub:ORGANISATION/NAME``; fetch it if ``download`` is set.

    Raises:
        InputError: The weights are not on this computer, or cannot be fetched.
    """
    repository = source.removeprefix("hf-hub:")
    for config in (OPEN_CLIP_CONFIG, HF_CONFIG):
        if (path := _cached_file(repository, config)) is not None and any(
            (path.parent / n).exists() for n in WEIGHT_FILES
        ):
            return path.parent
    if not download:
        raise InputError(_not_cached_message(source))
    import huggingface_hub

    try:
        wanted = _files_to_fetch(huggingface_hub.HfApi().list_repo_files(repository))
        folder = huggingface_hub.snapshot_download(repository, allow_patterns=wanted)
    except Exception as error:  # errors of the network, the hub and the disk get one sentence
        raise InputError(_fetch_error_message(source, error)) from error
    return Path(folder)


def _files_to_fetch(files: list[str]) -> list[str]:
    """Return the files of a repository to fetch: configurations, tokenizer, and weights in one format (all shards)."""
    wanted = [n for n in (OPEN_CLIP_CONFIG, HF_CONFIG, "preprocessor_config.json") if n in files]
    wanted += [n for n in files if _TOKENIZER_FILES.fullmatch(n)]
    weights = next((n for n in WEIGHT_FILES if n in files), "")
    stem, _, rest = weights.partition(".")
    shards = re.compile(rf"{re.escape(stem)}-\d+-of-\d+\.{re.escape(rest.removesuffix('.index.json'))}")
    return [*wanted, weights, *(n for n in files if weights.endswith(".index.json") and shards.fullmatch(n))]


def _hub_names(file: str) -> list[str]:
    """Return the names that a file may have on the hub, safetensors first, as open_clip tries them."""
    if not file:
        return ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"]
    stem, dot, suffix = file.rpartition(".")
    return [f"{stem}.safetensors", file] if dot and suffix in ("bin", "pth") else [file]


def _cached_file(repository: str, name: str) -> Path | None:
    import huggingface_hub

    try:
        found = huggingface_hub.try_to_load_from_cache(repository, name)
    except ValueError as error:  # huggingface_hub raises it for an invalid name
        raise InputError(f"hf-hub:{repository} is no name of the hub; write hf-hub:ORGANISATION/NAME") from error
    return Path(found) if isinstance(found, str) else None


def _fetch_tag(source: str, tag_cfg: dict[str, Any], request: WeightsRequest) -> Path:
    if not request.download:
        raise InputError(_not_cached_message(source))
    open_clip = import_open_clip()
    try:
        return Path(open_clip.download_pretrained(tag_cfg))
    except Exception as error:  # errors of the network, the hub and the disk get one sentence
        raise InputError(_fetch_error_message(source, error)) from error


def _not_cached_message(source: str) -> str:
    return f"{source} is not on this computer; add --download (download=True) to fetch it, or name a weights file"


def _fetch_error_message(source: str, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200]
    return (
        f"{source} cannot be fetched ({type(error).__name__}: {reason}); fetch it elsewhere and name the file or folder"
    )
