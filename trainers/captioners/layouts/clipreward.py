"""The layout of CLIP-Caption-Reward's checkpoints: Lightning's dictionary, with the vocabulary pickled inside."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError
from trainers.captioners.layouts.clipreward_pickles import OPTIONS, VOCABULARY, options_inside, vocabulary_inside
from trainers.captioners.word_vocabulary import read_words

if TYPE_CHECKING:
    from torch import Tensor

    from trainers.captioners.transformer import TransformerCaptioner, TransformerSizes

ANCHOR = "model.tgt_embed.0.lut.weight"
GRID = (196, 2048)  # CLIP RN50 at 448 pixels: 14 x 14 cells
SIDE = 448
# Its authors decode greedily in evaluations (clipreward.md 3). With more beams, no length divides their scores.
DECODING = {"beams": 1, "max_length": 21, "length_penalty": 0.0, "rules": "clip-reward"}
HEADS = 8  # no tensor tells it; of all published configurations
_UNUSED = (VOCABULARY, OPTIONS, "model.tgt_embed.1.pe")  # read apart, and a table of sines
_WHOLE = {
    "att_embed.0": "bridge",
    "model.encoder.norm": "encoder_norm",
    "model.decoder.norm": "final_norm",
    "model.tgt_embed.0.lut": "words",
    "model.generator.proj": "head",
}
_LAYER = re.compile(r"model\.(encoder|decoder)\.layers\.(\d+)\.(.+)\.(weight|bias|a_2|b_2)")
_PARTS = {
    "feed_forward.w_1": "feed.widen",
    "feed_forward.w_2": "feed.narrow",
    "self_attn.linears.0": "self_attention.query",
    "self_attn.linears.3": "self_attention.out",
    "src_attn.linears.0": "cross_attention.query",
    "src_attn.linears.3": "cross_attention.out",
}
_NORMS = {"encoder": ("self_norm", "feed_norm"), "decoder": ("self_norm", "cross_norm", "feed_norm")}
_KEY_VALUE = re.compile(r"(self|src)_attn\.linears\.([12])")
_KINDS = {"a_2": "weight", "b_2": "bias"}


def open_clipreward(
    tensors: Mapping[str, Tensor],
    path: Path,
    *,
    tower: str | None = None,
    vocabulary: str | Path | None = None,
    longest: int | None = None,
    **loading: Any,
) -> TransformerCaptioner:
    """Build the captioner of a checkpoint, in evaluation mode and in float32; optimizer states are not read.

    Args:
        tensors: The ``state_dict`` of the checkpoint.
        path: The path of the checkpoint.
        tower: The CLIP weights that encode pictures, at 448 x 448 pixels; without them the captioner takes stored
            features.
        vocabulary: A JSON file with ``ix_to_word``; by default the vocabulary inside the checkpoint.
        longest: The greatest number of tokens of a caption, the begin token included; 21 by default.
        loading: Options for loading the tower, such as ``precision`` and ``device``.

    Raises:
        InputError: Tensors are missing, unknown or do not fit, or there is no vocabulary.
    """
    from trainers.captioners.folder import fill
    from trainers.captioners.towers import ClipTower, StoredTower, clip_of_source
    from trainers.captioners.transformer import TransformerCaptioner

    where = str(path)
    renamed = _renamed({n: t for n, t in tensors.items() if n not in _UNUSED}, where)
    if "bridge.weight" not in renamed:
        raise InputError(f"{where} lacks att_embed.0.weight")
    width = renamed["bridge.weight"].shape[1]
    words = vocabulary_inside(tensors, where) if vocabulary is None else read_words(Path(vocabulary))
    if words.size != len(tensors[ANCHOR]):
        described = f"{where if vocabulary is None else vocabulary} has {words.size - 1:,} words"
        raise InputError(
            f"{described}, and {where} has {len(tensors[ANCHOR]) - 1:,}; name the file it was trained with"
        )
    frozen = StoredTower((GRID[0], width))
    if tower is not None:
        frozen = ClipTower(clip_of_source(tower, **loading), tower, side=SIDE, resize="squash")
        if frozen.shape[1] != width:
            raise InputError(f"{where} takes features {width:,} wide, and {tower} gives {frozen.shape[1]:,}; name RN50")
    captioner = TransformerCaptioner(frozen, words, _sizes(renamed, options_inside(tensors, where), longest, where))
    fill(captioner, renamed, where)
    captioner.decoding = dict(DECODING)
    return captioner.eval()


def _renamed(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return the checkpoint's tensors under the captioner's names, with keys and values joined."""
    import torch

    renamed: dict[str, Tensor] = {}
    pairs: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        stem, _, kind = name.rpartition(".")
        kind = _KINDS.get(kind, kind)
        layer = _LAYER.fullmatch(name)
        if stem in _WHOLE:
            renamed[f"{_WHOLE[stem]}.{kind}"] = tensor.float()
        elif layer is None:
            raise InputError(f"{where} has {name}, which no checkpoint of CLIP-Caption-Reward's transformer has")
        elif (both := _KEY_VALUE.fullmatch(layer[3])) is not None:
            attention = "self" if both[1] == "self" else "cross"
            ours = f"{layer[1]}.{layer[2]}.{attention}_attention.key_value.{kind}"
            pairs.setdefault(ours, {})[both[2]] = tensor.float()
        else:
            renamed[f"{layer[1]}.{layer[2]}.{_part(layer[1], layer[3], name, where)}.{kind}"] = tensor.float()
    for name, pair in pairs.items():
        if len(pair) < 2:
            raise InputError(f"{where} lacks keys or values for {name}")
        renamed[name] = torch.cat([pair["1"], pair["2"]])
    return renamed


def _part(stack: str, theirs: str, name: str, where: str) -> str:
    if theirs in _PARTS:
        return _PARTS[theirs]
    norm = re.fullmatch(r"sublayer\.(\d)\.norm", theirs)
    if norm is None or int(norm[1]) >= len(_NORMS[stack]):
        raise InputError(f"{where} has {name}, which no checkpoint of CLIP-Caption-Reward's transformer has")
    return _NORMS[stack][int(norm[1])]


def _sizes(
    tensors: Mapping[str, Tensor], options: Mapping[str, Any], longest: int | None, where: str
) -> TransformerSizes:
    from trainers.captioners.transformer import TransformerSizes

    def layers(stack: str) -> int:
        return len({n.split(".")[1] for n in tensors if n.startswith(f"{stack}.")})

    inner = tensors.get("decoder.0.feed.widen.weight")
    width = tensors["words.weight"].shape[1]
    heads = options.get("num_att_heads", HEADS)
    if not isinstance(heads, int) or heads < 1 or width % heads:
        raise InputError(f"{where} says num_att_heads {heads!r}, which does not divide its width {width}")
    sizes = TransformerSizes(
        width=width,
        heads=heads,
        inner=TransformerSizes.inner if inner is None else len(inner),
        encoder_layers=layers("encoder"),
        decoder_layers=layers("decoder"),
    )
    return sizes if longest is None else replace(sizes, longest=longest)
