"""Small CLIPs of transformers, and CLIP-Caption-Reward's checkpoint of one, as its training writes it."""

from __future__ import annotations

import pytest
import torch
from clip_files import save

from capreward.encoders.model.open_clip_import import import_open_clip

import_open_clip()  # transformers imports torchvision as well
transformers = pytest.importorskip("transformers")


def hf_clip(*, act="quick_gelu", image_heads=2, text_heads=1, seed=0, **vision):
    """A random CLIP, the same with every version of transformers, whose own first weights are not."""
    config = transformers.CLIPConfig(
        projection_dim=32,
        vision_config={
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 2,
            "num_attention_heads": image_heads,
            "image_size": 32,
            "patch_size": 16,
            "projection_dim": 32,
            "hidden_act": act,
            **vision,
        },
        text_config={
            "hidden_size": 64,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": text_heads,
            "projection_dim": 32,
            "hidden_act": act,
            "eos_token_id": 49407,
        },
    )
    with torch.random.fork_rng():
        model = transformers.CLIPModel(config)
        torch.manual_seed(seed)
        with torch.no_grad():
            for name, parameter in sorted(model.named_parameters()):
                if name != "logit_scale":
                    scale = "norm" in name and name.endswith("weight")
                    parameter.normal_(mean=float(scale), std=0.1 if parameter.dim() < 2 else 0.06)
    return model.eval().requires_grad_(False)


def grammar_head(width=64, seed=4):
    """Linear, ReLU, Linear, both without bias; its logits lie far enough apart to tell captions apart."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = torch.nn.Linear(width, width, bias=False), torch.nn.ReLU(), torch.nn.Linear(width, 2, bias=False)
    head = torch.nn.Sequential(*layers).eval().requires_grad_(False)
    head[2].weight.mul_(8)
    return head


def grammar_state(model, head):
    """The names of clip_negative_text-last.ckpt: prefixes, buffers of older versions, both towers, the head."""
    state = {f"clip_model.{name}": tensor for name, tensor in model.state_dict().items()}
    state["clip_model.text_model.embeddings.position_ids"] = torch.arange(77)[None]
    state["clip_model.vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    return state | {f"grammar_score_head.{name}": tensor for name, tensor in head.state_dict().items()}


def grammar_file(path, model, head, *, images=True):
    """The file; without its image tower where ``images`` is false."""
    state = grammar_state(model, head)
    kept = {n: t for n, t in state.items() if images or ("vision_model" not in n and "visual_projection" not in n)}
    return save(path, {"epoch": 1, "state_dict": kept, "optimizer_states": [{}]})
