"""New CLIPs with random weights and a vocabulary of their own, for training from scratch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.text.merges import learn_merges, write_merges

if TYPE_CHECKING:
    from torch import nn

VOCABULARY = "bpe.txt.gz"
NO_IMAGES: Mapping[str, Any] = {"image_size": 32, "patch_size": 32, "width": 64, "layers": 1}  # open_clip wants a tower


def new_config(
    folder: Path,
    texts: Iterable[str],
    *,
    embed: int,
    vision: Mapping[str, Any],
    text: Mapping[str, Any],
    most: int | None = None,
) -> dict[str, Any]:
    """Learn a vocabulary, write it, and describe a CLIP that reads it.

    Args:
        folder: The folder that gets ``bpe.txt.gz``.
        texts: The texts, with the prompt if one is used.
        embed: The width of the shared space.
        vision: open_clip's ``vision_cfg``, with a square ``image_size``.
        text: open_clip's ``text_cfg``, without vocabulary.
        most: The greatest number of merges of the vocabulary.

    Returns:
        The content of ``open_clip_config.json``; it takes images in [-1, 1].
    """
    vocabulary = write_merges(folder / VOCABULARY, learn_merges(texts, most=most))
    reads = {**text, "vocab_size": vocabulary, "tokenizer_kwargs": {"bpe_path": VOCABULARY}}
    half, size = [0.5, 0.5, 0.5], vision["image_size"]
    shape = {"size": [size, size], "mode": "RGB", "interpolation": "bicubic", "resize_mode": "shortest"}
    return {
        "model_cfg": {"embed_dim": embed, "vision_cfg": dict(vision), "text_cfg": reads},
        "preprocess_cfg": {"mean": half, "std": half, **shape},
    }


def new_model(config: Mapping[str, Any]) -> nn.Module:
    """Make open_clip's model of a configuration; its weights are drawn from torch's generator."""
    from capreward.encoders.model.backend import import_open_clip

    model: nn.Module = import_open_clip().CLIP(**deepcopy(config["model_cfg"]))
    return model


def write_new_folder(
    folder: Path,
    texts: Iterable[str],
    *,
    text: Mapping[str, Any],
    vision: Mapping[str, Any] = NO_IMAGES,
    embed: int = 128,
    most: int | None = None,
    seed: int = 0,
) -> Path:
    """Write a folder that ``capreward tune --base FOLDER`` trains from scratch.

    Args:
        folder: The folder; it is made if it is missing.
        texts: The texts, with the prompt if one is used.
        text: open_clip's ``text_cfg``, without vocabulary.
        vision: open_clip's ``vision_cfg``, with a square ``image_size``; the default is a stand-in for texts alone.
        embed: The width of the shared space.
        most: The greatest number of merges of the vocabulary.
        seed: The seed of the weights; torch's own generator is left as it was.
    """
    import torch

    folder.mkdir(parents=True, exist_ok=True)
    config = new_config(folder, texts, embed=embed, vision=vision, text=text, most=most)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = new_model(config)
    save_folder(model, config, folder, half=False)
    return folder


def save_folder(model: nn.Module, config: Mapping[str, Any], folder: Path, *, half: bool = True) -> None:
    """Write weights and configuration as open_clip's ``local-dir:`` reads them.

    Args:
        model: The model, from ``new_model``.
        config: The configuration of the model.
        folder: The folder, which has the vocabulary.
        half: Whether to write float16.
    """
    from safetensors.torch import save_file

    state = {
        name: (value.half() if half and value.is_floating_point() else value).detach().contiguous()
        for name, value in model.state_dict().items()
    }
    save_file(state, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
