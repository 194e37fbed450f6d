"""Captioners of transformers' own classes, and checkpoints of them as DiCO releases its own."""

from __future__ import annotations

import json

import torch
from clip_files import VIT, model_cfg
from safetensors.torch import save_file
from torch import nn

VOCABULARY = 49_409
PREFIX = "encoder.vision_encoder."


def noisy(module, seed):
    """Random weights of which every tensor matters: biases and norms are not left at 0 and 1."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * (0.1 if parameter.dim() < 2 else 0.05))
    return module


class Model(nn.Module):
    """DiCO's composition (dico.md 2.1 to 2.3) of transformers' modules, tiny."""

    def __init__(self, *, width=32, heads=2, vision=64, layers=2, encoder_layers=1, places=24, vocabulary=VOCABULARY):
        from transformers import BertConfig, BertModel, CLIPVisionConfig, CLIPVisionModel, GPT2Config, GPT2LMHeadModel

        super().__init__()
        eager = {"attn_implementation": "eager"}
        self.vision = CLIPVisionModel(
            CLIPVisionConfig(
                hidden_size=vision,
                intermediate_size=2 * vision,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=32,
                patch_size=16,
                **eager,
            )
        )
        self.bridge = nn.Linear(vision, width) if vision != width else None
        sizes = {"hidden_size": width, "intermediate_size": 4 * width, "max_position_embeddings": 12, "vocab_size": 50}
        bert = BertConfig(**sizes, num_hidden_layers=encoder_layers, num_attention_heads=heads, **eager)
        self.encoder = BertModel(bert)
        self.decoder = GPT2LMHeadModel(
            GPT2Config(
                n_embd=width,
                n_layer=layers,
                n_head=heads,
                n_positions=places,
                vocab_size=vocabulary,
                add_cross_attention=True,
                **eager,
            )
        )
        noisy(self, 3).eval()

    @torch.no_grad()
    def states(self, pixels):
        tokens = self.vision(pixel_values=pixels).last_hidden_state
        return self.encoder(inputs_embeds=tokens if self.bridge is None else self.bridge(tokens)).last_hidden_state

    @torch.no_grad()
    def logits(self, states, tokens):
        return self.decoder(input_ids=tokens, encoder_hidden_states=states, use_cache=False).logits

    def released(self):
        """The state dict by the names of dico.md 4.3, with dead weights and buffers."""
        found = {f"{PREFIX}{n.removeprefix('vision_model.')}": t for n, t in self.vision.state_dict().items()}
        if self.bridge is not None:
            found |= {f"encoder.vis_enc_to_enc_proj.{n}": t for n, t in self.bridge.state_dict().items()}
        found |= {f"encoder.encoder.{n}": t for n, t in self.encoder.state_dict().items()}
        found |= {f"decoder.{n}": t for n, t in self.decoder.state_dict().items()}
        places = len(found["decoder.transformer.wpe.weight"])
        for layer in range(self.decoder.config.n_layer):
            for part in ("attn", "crossattention"):
                mask = torch.ones(places, places, dtype=torch.uint8).tril()[None, None]
                found[f"decoder.transformer.h.{layer}.{part}.bias"] = mask
                found[f"decoder.transformer.h.{layer}.{part}.masked_bias"] = torch.tensor(-1e4)
        found["encoder.encoder.embeddings.position_ids"] = torch.arange(12)[None]
        found[f"{PREFIX}embeddings.position_ids"] = torch.arange(5)[None]
        found["decoder.lm_head.weight"] = found["decoder.transformer.wte.weight"]
        return found

    def config(self):
        parts = {n: m.config.to_dict() for n, m in (("vision", self.vision), ("encoder", self.encoder))}
        encoder = {
            "model_type": "vision-encoder-encoder",
            "vision_encoder": parts["vision"],
            "encoder": parts["encoder"],
        }
        decoder = self.decoder.config.to_dict()
        return {"model_type": "vision-encoder-decoder", "encoder": encoder, "decoder": decoder, "max_length": 20}


def write_released(folder, state, config=None, *, half=False, safetensors=False):
    """A released folder; ``config`` None leaves the configuration out."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {n: t.half() if half and t.is_floating_point() else t for n, t in state.items()}
    if safetensors:
        save_file({n: t.clone().contiguous() for n, t in state.items()}, folder / "model.safetensors")
    else:
        torch.save(state, folder / "pytorch_model.bin")
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config, default=str))
    return folder


def crops(count, side, seed=5):
    """Pixels uint8 [count, side, side, 3]."""
    return torch.randint(0, 256, (count, side, side, 3), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def saved_clip(path, clip):
    """An open_clip folder, which says the number of heads."""
    whole, vision = clip if isinstance(clip, tuple) else (clip, VIT)
    folder = path.with_suffix("")
    folder.mkdir()
    save_file({n: t.contiguous() for n, t in whole.state_dict().items()}, folder / "open_clip_model.safetensors")
    config = {"model_cfg": model_cfg(vision=vision), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder
