"""Small captioners for the tests of decoding, and transformers' decoder with their weights."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from trainers.captioners.base import Captioner, Memory
from trainers.captioners.grid import GridCaptioner, GridSizes
from trainers.captioners.towers import StoredTower

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


def grid(
    seed, words, *, images, width=16, heads=2, layers=2, longest=24, tokens=5, sharpness=5.0, end=12, rise=0.0, inner=32
):
    """A grid captioner with random weights and a memory for it.

    ``sharpness`` scales its weights: a model that prefers some words. The end token's logit rises by about ``rise``
    with every place and passes that of others about place ``end``.
    """
    generator = torch.Generator().manual_seed(seed)
    sizes = GridSizes(width, heads, inner, 0, layers, longest, 0.0)
    captioner = GridCaptioner(StoredTower((tokens, width)), words, sizes).eval()
    with torch.no_grad():
        for name, weights in captioner.named_parameters():
            if "norm" not in name:
                weights.copy_(torch.randn(weights.shape, generator=generator) * sharpness / width**0.5 / 2)
        captioner.words.weight.div_(sharpness / 3)
        row = captioner.words.weight[words.eos]
        places = torch.arange(longest).unsqueeze(1)
        captioner.positions.weight.add_((places - end) * rise * row / row.norm())
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
    """Tokens [B * K, L] by transformers' ``generate``."""
    import transformers
    from transformers.modeling_outputs import BaseModelOutput

    transformers.logging.set_verbosity_error()

    found = model.generate(
        encoder_outputs=BaseModelOutput(last_hidden_state=memory.states),
        use_cache=True,
        **options,
    )
    return found


@dataclass
class TableCache:
    """Where in its table each row is."""

    places: torch.Tensor
    images: torch.Tensor

    def reorder(self, rows):
        self.places = self.places[rows]
        self.images = self.images[rows]

    def keep(self, images, rows):
        self.reorder(rows)


class Table(Captioner):
    """A captioner whose logits are looked up by the image and a number made of all tokens so far.

    Its memory's states are the numbers of the images, [B, 1, 1]; its table is [images, P, V].
    """

    longest = 64
    preprocessing = None

    def __init__(self, table, words):
        super().__init__()
        self.table, self.vocabulary = table, words

    def next(self, place, token):
        return (place * 31 + token + 7) % self.table.shape[1]

    def start(self, memory, longest):
        images = memory.states.flatten().long()
        return TableCache(torch.zeros_like(images), images)

    def step(self, cache, tokens):
        cache.places = self.next(cache.places, tokens)
        return self.table[cache.images, cache.places]


def table_memory(images):
    return Memory(torch.tensor(images, dtype=torch.float32).view(-1, 1, 1))


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
            state[f"{theirs}attn.c_attn.{kind}"] = torch.cat(joined).t()
            for name, other in LAYER.items():
                weight = own[f"{ours}{name}.{kind}"]
                state[f"{theirs}{other}.{kind}"] = weight.t()
    return {name: weight.contiguous().clone() for name, weight in state.items()}
