"""Small CLIPs of open_clip's own classes, and files of them in the layouts that checkpoints come in."""

from __future__ import annotations

import json
import pickle

import torch
from rounding import check_close

from capreward.encoders.model.open_clip_import import import_open_clip

TEXTS = ["A photo depicts a dog on a mat", "two red cats", ""]
VOCABULARY = 49408
RANK = 4
VIT = {"image_size": 32, "patch_size": 16, "width": 128, "layers": 2}
RESNET = {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8, "patch_size": None}
TEXT = {"context_length": 77, "vocab_size": VOCABULARY, "width": 64, "heads": 1, "layers": 2}


def model_cfg(*, quick_gelu=True, vision=VIT, text=TEXT, embed=32, **more):
    return {"embed_dim": embed, "vision_cfg": dict(vision), "text_cfg": dict(text), "quick_gelu": quick_gelu, **more}


def small_clip(seed=0, **options):
    """A random CLIP whose every tensor matters: biases, norms and class embeddings are not left at 0 and 1."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = import_open_clip().CLIP(**model_cfg(**options))
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                if tensor.is_floating_point() and name != "logit_scale":
                    tensor.add_(torch.randn_like(tensor).abs() * 0.05 if "running_var" in name else noise(tensor))
    return model.eval().requires_grad_(False)


def noise(tensor):
    return torch.randn_like(tensor) * (0.1 if tensor.dim() < 2 else 0.02)


def pixels(model, n=3, seed=1):
    size = model.visual.image_size
    size = size[0] if isinstance(size, (tuple, list)) else size
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(seed))


def tokens():
    return import_open_clip().tokenize(TEXTS)


@torch.no_grad()
def features(model, seed=1):
    """Image and text features of the same inputs, whatever loaded the model."""
    return model.encode_image(pixels(model, seed=seed)), model.encode_text(tokens())


def check_features(model, other):
    """Whether two models have the same features but for rounding: they may be of two classes, and one be trained."""
    for mine, theirs in zip(features(model), features(other), strict=True):
        check_close(mine, theirs)


def save(path, state, **options):
    torch.save(state, path, **options)
    return path


def scripted(model, path, *, half=False):
    """A TorchScript archive as OpenAI publishes them: traced, with the three numbers as buffers."""
    size = model.visual.image_size[0]
    numbers = {"input_resolution": size, "context_length": model.context_length, "vocab_size": model.vocab_size}
    example = pixels(model, n=1), tokens()[:1]
    for name, value in numbers.items():
        if hasattr(model, name):
            delattr(model, name)
        model.register_buffer(name, torch.tensor(value))
    traced = torch.jit.trace_module(
        model, {"encode_image": (example[0],), "encode_text": (example[1],)}, check_trace=False
    )
    if half:
        traced.half()
    torch.jit.save(traced, str(path))
    return path


class Acts:
    """What a hostile pickle looks like: an object that is a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def folder_of(path, state, config, **preprocess):
    """A folder in open_clip's layout."""
    from safetensors.torch import save_file

    path.mkdir()
    save_file({n: t.contiguous() for n, t in state.items()}, path / "open_clip_model.safetensors")
    written = {"model_cfg": config, "preprocess_cfg": preprocess}
    (path / "open_clip_config.json").write_text(json.dumps(written))
    return path


def plain_pickle(path, value, protocol=2):
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


def with_factors(model, *, mlp=1.0, seed=2):
    """A state dict with factors as PAC-S++ stores them; shapes from the reference notes."""
    generator = torch.Generator().manual_seed(seed)

    def factor(*shape):
        return torch.randn(*shape, generator=generator) * 0.2

    state = {n: t.clone() for n, t in model.state_dict().items()}
    width, _, patch, _ = state["visual.conv1.weight"].shape
    state["visual.conv1.lora_A"] = factor(RANK * patch, 3 * patch)
    state["visual.conv1.lora_B"] = factor(width * patch, RANK * patch)
    for name in [n for n in state if n.endswith("attn.in_proj_weight")]:
        block, d = name.removesuffix("attn.in_proj_weight"), state[name].shape[1]
        state[f"{name}_lora_A"], state[f"{name}_lora_B"] = factor(RANK, d), factor(3 * d, RANK)
        state[f"{block}attn.out_proj.lora_A"], state[f"{block}attn.out_proj.lora_B"] = factor(RANK, d), factor(d, RANK)
        state[f"{block}mlp.c_fc.lora_A"], state[f"{block}mlp.c_fc.lora_B"] = factor(RANK, d), factor(4 * d, RANK) * mlp
        state[f"{block}mlp.c_proj.lora_A"] = factor(RANK, 4 * d)
        state[f"{block}mlp.c_proj.lora_B"] = factor(d, RANK) * mlp
    return state
