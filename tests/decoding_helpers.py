"""Small captioners for the tests of decoding, and transformers' decoder with their weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trainers.captioners.base import Memory
from trainers.captioners.grid import GridCaptioner, GridSizes
from trainers.captioners.tower import StoredTower

# Our names of a decoder layer's parts and transformers' GPT-2's; its matrices lie transposed.
LAYER = {
    "self_norm": "ln_1",
    "self_attention.out": "attn.c_proj",
    "cross_norm": "ln_cross_attn",
    "cross_attention.query": "crossattention.q_attn",
    "cross_attention.key_value": "crossattention.c_attn",
    "cross_attention.out": "crossattention.c_proj",
    "feed_norm": "ln_2",
    "widen": "mlp.c_fc",
    "narrow": "mlp.c_proj",
}


@dataclass(frozen=True)
class Words:
    """A vocabulary of numbers."""

    size: int
    bos: int
    eos: int
    pad: int
    kind: str = "numbers"

    def decode(self, ids):
        return " ".join(str(i) for i in ids)


def grid(seed, words, *, images, width=16, heads=2, layers=2, longest=24, tokens=5, sharpness=6.0, end=0.0, inner=32):
    """A grid captioner with random weights and a memory for it.

    ``sharpness`` scales its weights: a model that prefers some words. ``end`` is added to the end token's logit by way
    of the last norm's bias, which all logits share.
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = GridSizes(width, heads, inner, 0, layers, longest, 0.0)
    captioner = GridCaptioner(StoredTower((tokens, width)), words, sizes).eval()
    with torch.no_grad():
        for name, weights in captioner.named_parameters():
            if "norm" not in name:
                weights.copy_(torch.randn(weights.shape, generator=generator) * sharpness / width**0.5 / 2)
        captioner.words.weight.div_(sharpness / 3)
        if end:
            row = captioner.words.weight[words.eos]
            captioner.final_norm.bias.add_(row * end / row.square().sum())
    return captioner, Memory(torch.randn(images, tokens, width, generator=generator))


def transformers_twin(captioner):
    """A VisionEncoderDecoderModel whose decoder has the captioner's weights; its encoder is never run."""
    from transformers import GPT2Config, GPT2LMHeadModel, VisionEncoderDecoderModel, ViTConfig, ViTModel

    sizes, words = captioner.sizes, captioner.vocabulary
    shared = {"bos_token_id": words.bos, "eos_token_id": words.eos, "pad_token_id": words.pad}
    config = GPT2Config(
        vocab_size=words.size,
        n_positions=sizes.longest,
        n_embd=sizes.width,
        n_layer=sizes.decoder_layers,
        n_head=sizes.heads,
        n_inner=sizes.inner,
        add_cross_attention=True,
        is_decoder=True,
        **shared,
    )
    decoder = GPT2LMHeadModel(config)
    decoder.load_state_dict({**decoder.state_dict(), **_state(captioner)})
    decoder.tie_weights()
    unused = ViTConfig(
        hidden_size=sizes.width, num_hidden_layers=1, num_attention_heads=1, intermediate_size=4, image_size=16
    )
    model = VisionEncoderDecoderModel(encoder=ViTModel(unused, add_pooling_layer=False), decoder=decoder).eval()
    model.generation_config.decoder_start_token_id = words.bos
    for name, value in shared.items():
        setattr(model.generation_config, name, value)
    return model


def transformers_decode(model, memory, **options):
    """Tokens and, of beams, scores, by transformers' ``generate``."""
    from transformers.modeling_outputs import BaseModelOutput

    found = model.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=memory.states),
        use_cache=True,
        return_dict_in_generate=True,
        output_scores=False,
        **options,
    )
    return found.sequences


def _state(captioner):
    own = captioner.state_dict()
    state = {
        "transformer.wte.weight": own["words.weight"],
        "lm_head.weight": own["words.weight"],
        "transformer.wpe.weight": own["positions.weight"],
        "transformer.ln_f.weight": own["final_norm.weight"],
        "transformer.ln_f.bias": own["final_norm.bias"],
    }
    for number in range(captioner.sizes.decoder_layers):
        ours, theirs = f"decoder.{number}.", f"transformer.h.{number}."
        for kind in ("weight", "bias"):
            joined = [own[f"{ours}self_attention.{part}.{kind}"] for part in ("query", "key_value")]
            state[f"{theirs}attn.c_attn.{kind}"] = torch.cat(joined).T
            for name, other in LAYER.items():
                weight = own[f"{ours}{name}.{kind}"]
                state[f"{theirs}{other}.{kind}"] = weight.T
    return {name: weight.contiguous().clone() for name, weight in state.items()}
