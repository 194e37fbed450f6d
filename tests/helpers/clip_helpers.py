"""Small CLIPs with random weights, as open_clip folders."""

from __future__ import annotations

import json
from copy import deepcopy

import open_clip
import torch
from safetensors.torch import save_file

SMALL = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
}
OPENAI = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}


def small_model(seed=0, config=SMALL, spread=True):
    """A CLIP with random weights; ``spread`` makes its features differ from picture to picture as trained ones do."""
    torch.manual_seed(seed)
    model = open_clip.CLIP(**deepcopy(config)).eval()
    if spread:
        with torch.no_grad():
            for name, value in model.named_parameters():
                if value.ndim > 1 and "logit" not in name:
                    value.mul_(2.0)
    return model


def write_folder(path, model, config=SMALL, preprocess=OPENAI):
    """An open_clip ``local-dir``."""
    path.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path / "open_clip_model.safetensors")
    size = config["vision_cfg"]["image_size"]
    shape = {"size": [size, size], "interpolation": "bicubic", "resize_mode": "shortest"}
    text = {"model_cfg": config, "preprocess_cfg": {**preprocess, **shape}}
    (path / "open_clip_config.json").write_text(json.dumps(text))
    return path
