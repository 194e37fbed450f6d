"""DiCO's released captioner: transformers' CLIP tower, BERT encoder and GPT-2 decoder in one table of tensors."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError, shorten
from trainers.captioners.layouts.dico_tensors import (
    ANCHOR,
    CONFIG,
    DECODER,
    ENCODER,
    TOWER,
    DicoCheckpoint,
    dico_tower,
)

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.captioners.grid import GridCaptioner, GridSizes

HEAD = "decoder.lm_head.weight"
CROPPING = "transformers"  # of the pictures that it was trained on (dico.md 3.3)
# Its authors' decoding in evaluations (dico.md 2.5); nothing keeps their search from begin and padding tokens.
DECODING = {"beams": 5, "max_length": 30, "length_penalty": 1.0, "rules": "dico", "suppress": False}
HEAD_WIDTH = 64  # where no configuration says the number of heads

# Tensors that the checkpoints carry and nothing uses: causal masks, ranges, BERT's words and its pooler.
_DEAD = re.compile(
    r".*\.position_ids|decoder\.transformer\.h\.\d+\.(attn|crossattention)\.(masked_)?bias"
    rf"|{re.escape(ENCODER)}(embeddings\.word_embeddings\..*|pooler\..*)"
)
_ENCODER_PARTS = {
    "attention.query": "attention.self.query",
    "attention.out": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "widen": "intermediate.dense",
    "narrow": "output.dense",
    "feed_norm": "output.LayerNorm",
}
_NORMS = {"self_norm": "ln_1", "cross_norm": "ln_cross_attn", "feed_norm": "ln_2"}
_CONV1D = {
    "self_attention.out": "attn.c_proj",
    "cross_attention.query": "crossattention.q_attn",
    "cross_attention.key_value": "crossattention.c_attn",
    "cross_attention.out": "crossattention.c_proj",
    "widen": "mlp.c_fc",
    "narrow": "mlp.c_proj",
}
_EXPECTED = {  # for each part of config.json what the captioner computes, also the default of a missing value
    "encoder": {"hidden_act": "gelu", "layer_norm_eps": 1e-12},
    "decoder": {"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5},
}


def open_dico(
    released: DicoCheckpoint,
    *,
    tower: str | None = None,
    longest: int | None = None,
    cropping: str | None = None,
    **loading: Any,
) -> GridCaptioner:
    """Build the captioner of a checkpoint, in evaluation mode and in float32.

    By default it takes pictures that transformers' image processor crops, as in the authors' training.

    Args:
        released: The checkpoint, from :func:`trainers.captioners.layouts.dico_tensors.read_dico`.
        tower: Weights that hold the same image tower, in place of the checkpoint's own.
        longest: The greatest number of tokens of a caption, the begin token included; CLIP's 77 by default. The
            checkpoint has places for more (1,024).
        cropping: ``torchvision`` means that pictures are cropped as CLIP's own code crops them.
        loading: Options for loading the tower, such as ``precision`` and ``device``.

    Raises:
        InputError: Tensors are missing, unknown or do not fit, or the tower is not the checkpoint's.
    """
    from trainers.captioners.folder import fill
    from trainers.captioners.grid import GridCaptioner
    from trainers.captioners.towers import ClipTower, clip_of_source
    from trainers.captioners.vocabulary import ClipVocabulary

    where = str(released.path)
    source = str(released.path.absolute()) if tower is None else tower
    clip = dico_tower(released, **loading) if tower is None else clip_of_source(tower, **loading)
    frozen = ClipTower(clip, source, cropping=cropping or CROPPING)
    if tower is not None:
        _check_tower(released, frozen, tower)
    table = _Table({n: t for n, t in released.tensors.items() if not n.startswith(TOWER)}, where)
    vocabulary = ClipVocabulary()
    words = table[ANCHOR]
    if len(words) != vocabulary.size:
        raise InputError(
            f"{where} embeds {len(words):,} tokens; CLIP's vocabulary and its padding are {vocabulary.size:,}"
        )
    sizes = _sizes(released, table, longest)
    captioner = GridCaptioner(frozen, vocabulary, sizes)
    fill(captioner, _renamed(table, frozen.shape[0], sizes), where)
    captioner.decoding = dict(DECODING)
    return captioner.eval()


class _Table:
    """Tensors in float32 that are taken out one by one, so that unused tensors can be reported."""

    def __init__(self, tensors: dict[str, Tensor], where: str) -> None:
        self.tensors = {n: t for n, t in tensors.items() if not _DEAD.fullmatch(n)}
        self.where = where
        self.taken: set[str] = set()

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.tensors:
            raise InputError(f"{self.where} lacks {name}")
        self.taken.add(name)
        return self.tensors[name].float()

    def count(self, pattern: str) -> int:
        """Count the different numbers that the pattern's group takes."""
        return len({m[1] for m in (re.match(pattern, n) for n in self.tensors) if m})

    def finish(self) -> None:
        """Refuse tensors that nothing has taken."""
        left = [n for n in self.tensors if n not in self.taken]
        if left:
            raise InputError(f"{self.where} has {shorten(left)}, which no DiCO checkpoint has")


def _check_tower(released: DicoCheckpoint, tower: Any, source: str) -> None:
    """Refuse a named tower that computes other tokens than the checkpoint's own."""
    from capreward.encoders.model.image_tokens import tokens_digest

    if any(n.startswith(TOWER) for n in released.tensors):
        own = tokens_digest(dico_tower(released).model)
        if own != tower.digest:
            raise InputError(f"{source} is not the image tower that {released.path} was trained on; leave it out")


def _sizes(released: DicoCheckpoint, table: _Table, longest: int | None) -> GridSizes:
    from trainers.captioners.grid import GridSizes

    where = table.where
    width, places = table[ANCHOR].shape[1], len(table[f"{DECODER}wpe.weight"])
    inner = {
        "encoder": table[f"{ENCODER}encoder.layer.0.intermediate.dense.weight"].shape[0],
        "decoder": table[f"{DECODER}h.0.mlp.c_fc.weight"].shape[1],
    }
    parts = {"encoder": released.part("encoder", "encoder"), "decoder": released.part("decoder")}
    head_counts = {"encoder": parts["encoder"].get("num_attention_heads"), "decoder": parts["decoder"].get("n_head")}
    if None in head_counts.values() and width % HEAD_WIDTH:
        raise InputError(
            f"{where} is {width} wide, so its heads, {HEAD_WIDTH} wide in DiCO's, cannot be told; "
            f"put its {CONFIG} beside it"
        )
    heads = {part: int(width // HEAD_WIDTH if count is None else count) for part, count in head_counts.items()}
    for name, numbers in (("feed-forward width", inner), ("number of heads", heads)):
        if numbers["encoder"] != numbers["decoder"]:
            both = f"{numbers['encoder']} in its encoder and {numbers['decoder']} in its decoder"
            raise InputError(f"{where} has a {name} of {both}; DiCO's are the same")
    for part, expected in _EXPECTED.items():
        for name, value in expected.items():
            if parts[part].get(name, value) != value:
                raise InputError(f"{where}: its {part} has {name} {parts[part][name]!r}; DiCO's has {value!r}")
    if longest is not None and longest > places:
        raise InputError(f"{where} has places for {places:,} tokens of a caption; longest={longest} is more")
    return GridSizes(
        width=width,
        heads=heads["decoder"],
        inner=inner["decoder"],
        encoder_layers=table.count(rf"{re.escape(ENCODER)}encoder\.layer\.(\d+)\."),
        decoder_layers=table.count(rf"{re.escape(DECODER)}h\.(\d+)\."),
        longest=longest or min(places, 77),
    )


def _renamed(table: _Table, tokens: int, sizes: GridSizes) -> dict[str, Tensor]:
    """Return the checkpoint's tensors under the captioner's names."""
    renamed = {"words.weight": table[ANCHOR], "positions.weight": table[f"{DECODER}wpe.weight"][: sizes.longest]}
    if HEAD in table.tensors and not bool((table[HEAD] == renamed["words.weight"]).all()):
        raise InputError(f"{table.where}: its {HEAD} is not its word embedding; DiCO's decoder ties the two")
    embeddings = f"{ENCODER}embeddings."
    places = table[f"{embeddings}position_embeddings.weight"]
    if len(places) < tokens:
        raise InputError(f"{table.where} has places for {len(places)} image tokens, and its tower gives {tokens}")
    renamed["image_positions"] = places[:tokens] + table[f"{embeddings}token_type_embeddings.weight"][0]
    bridge = "encoder.vis_enc_to_enc_proj"
    for kind in ("weight", "bias"):
        renamed[f"image_norm.{kind}"] = table[f"{embeddings}LayerNorm.{kind}"]
        renamed[f"final_norm.{kind}"] = table[f"{DECODER}ln_f.{kind}"]
        if f"{bridge}.{kind}" in table.tensors:  # absent where the tower is as wide as the encoder
            renamed[f"bridge.{kind}"] = table[f"{bridge}.{kind}"]
        for i in range(sizes.encoder_layers):
            renamed.update(_encoder_layer(table, f"{ENCODER}encoder.layer.{i}.", f"encoder.{i}.", kind))
        for i in range(sizes.decoder_layers):
            renamed.update(_decoder_layer(table, f"{DECODER}h.{i}.", f"decoder.{i}.", kind))
    table.finish()
    return renamed


def _encoder_layer(table: _Table, theirs: str, ours: str, kind: str) -> dict[str, Tensor]:
    import torch

    renamed = {f"{ours}{name}.{kind}": table[f"{theirs}{part}.{kind}"] for name, part in _ENCODER_PARTS.items()}
    key_value = [table[f"{theirs}attention.self.{part}.{kind}"] for part in ("key", "value")]
    return {**renamed, f"{ours}attention.key_value.{kind}": torch.cat(key_value)}


def _decoder_layer(table: _Table, theirs: str, ours: str, kind: str) -> dict[str, Tensor]:
    """Return the tensors of a layer; GPT-2's Conv1D stores weights as (in, out), the transpose of a Linear's."""
    renamed = {f"{ours}{name}.{kind}": table[f"{theirs}{part}.{kind}"] for name, part in _NORMS.items()}
    for name, part in _CONV1D.items():
        renamed[f"{ours}{name}.{kind}"] = table[f"{theirs}{part}.{kind}"].t()
    fused = table[f"{theirs}attn.c_attn.{kind}"].t()
    width = len(fused) // 3
    renamed[f"{ours}self_attention.query.{kind}"] = fused[:width]
    renamed[f"{ours}self_attention.key_value.{kind}"] = fused[width:]
    return renamed
