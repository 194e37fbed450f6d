"""DiCO's released checkpoints: transformers' CLIP tower, BERT encoder and GPT-2 decoder in one table of tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError, shorten

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.loading import Clip
    from trainers.captioners.grid import GridCaptioner, GridSizes

CONFIG = "config.json"
MODEL_TYPE = "vision-encoder-decoder"
TOWER = "encoder.vision_encoder."
ENCODER = "encoder.encoder."
DECODER = "decoder.transformer."
ANCHOR = f"{DECODER}wte.weight"
HEAD = "decoder.lm_head.weight"
CROPPING = "transformers"  # of the pictures that it was trained on (dico.md 3.3)
# How its authors evaluate it (dico.md 2.5); nothing keeps their search from begin and padding tokens.
DECODING = {"beams": 5, "max_length": 30, "length_penalty": 1.0, "rules": "dico", "suppress": False}
HEAD_WIDTH = 64  # where no configuration says the number of heads

# What the checkpoints carry and nothing uses: causal masks, ranges, BERT's words and its pooler.
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
_SAID = {  # by part of config.json: what the captioner computes, and the default where it is not said
    "encoder": {"hidden_act": "gelu", "layer_norm_eps": 1e-12},
    "decoder": {"activation_function": "gelu_new", "layer_norm_epsilon": 1e-5},
}


@dataclass(frozen=True)
class Released:
    """A checkpoint as it was found.

    Attributes:
        path: of the folder or file.
        tensors: by their own names.
        paths: of the weights files.
        config: ``config.json``, empty where there is none.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    paths: list[Path]
    config: Mapping[str, Any]

    def part(self, *names: str) -> Mapping[str, Any]:
        """A part of the configuration, empty where it is not told."""
        found: Any = self.config
        for name in names:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else {}


def is_dico(path: Path) -> bool:
    """Whether a folder's configuration, or that beside a file, or the file's names are those of a DiCO checkpoint.

    Raises:
        InputError: a configuration or a file that cannot be read.
    """
    from capreward.encoders.checkpoints.checkpoint import read_checkpoint
    from capreward.encoders.checkpoints.folder import WEIGHT_FILES

    if (path.is_dir() or path.name in WEIGHT_FILES) and _config(path):
        return True
    if path.suffix not in (".bin", ".safetensors") or not path.is_file():
        return False
    return ANCHOR in read_checkpoint(path, drop_unknown=True).tensors


def read_dico(path: Path) -> Released:
    """Read a checkpoint folder or its weights file; nothing in it is run.

    Raises:
        InputError: damaged, or another model.
    """
    from capreward.encoders.checkpoints.checkpoint import read_checkpoint
    from capreward.encoders.checkpoints.folder import read_tensors

    if path.is_dir():
        checkpoint, paths = read_tensors(path, drop_unknown=True)
    else:
        checkpoint, paths = read_checkpoint(path, drop_unknown=True), [path]
    if ANCHOR not in checkpoint.tensors:
        raise InputError(
            f"{path} is no DiCO checkpoint: none of its {len(checkpoint.tensors):,} tensors is {ANCHOR}; "
            f"found {shorten(list(checkpoint.tensors))}"
        )
    return Released(path, checkpoint.tensors, paths, _config(path))


def open_dico(
    released: Released,
    *,
    tower: str | None = None,
    longest: int | None = None,
    cropping: str | None = None,
    **loading: Any,
) -> GridCaptioner:
    """Build the captioner of a checkpoint, in evaluation mode and in float32.

    It looks at pictures that are cut as its authors' were, by transformers' image processor.

    Args:
        released: from ``read_dico``.
        tower: weights that hold the same image tower, in place of the checkpoint's own.
        longest: tokens of a caption at most, the begin token included; by default CLIP's 77. The checkpoint has places
            for more (1,024).
        cropping: ``torchvision`` to look at pictures as CLIP's own code cuts them.
        loading: ``precision``, ``device`` and the like of the tower.

    Raises:
        InputError: tensors that are missing, unknown or do not fit; another tower than the checkpoint's.
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


def dico_tower(released: Released, **loading: Any) -> Clip:
    """The frozen image tower inside a checkpoint.

    Args:
        released: from ``read_dico``.
        loading: ``precision``, ``device`` and ``decode``; others do not apply.

    Raises:
        InputError: it has none, or one with parts missing.
    """
    from capreward.encoders.checkpoints.checkpoint import sha256_of
    from capreward.encoders.image_tower import image_tower

    tensors = {n.removeprefix(TOWER): t for n, t in released.tensors.items() if n.startswith(TOWER)}
    if not tensors:
        raise InputError(f"{released.path} has no image tower; name its weights with --tower, such as ViT-L-14:openai")
    return image_tower(
        {n.removeprefix("vision_model."): t for n, t in tensors.items()},
        str(released.path),
        name=released.path.resolve().name,
        sha256=sha256_of(released.paths),
        config=released.part("encoder", "vision_encoder"),
        **{name: loading[name] for name in ("precision", "device", "decode") if name in loading},
    )


class _Table:
    """Tensors in float32 that are taken out one by one, so that what is left over can be told."""

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
        """How many different numbers the pattern's group takes."""
        return len({m[1] for m in (re.match(pattern, n) for n in self.tensors) if m})

    def finish(self) -> None:
        """Refuse what nothing asked for."""
        left = [n for n in self.tensors if n not in self.taken]
        if left:
            raise InputError(f"{self.where} has {shorten(left)}, which no DiCO checkpoint has")


def _config(path: Path) -> dict[str, Any]:
    """DiCO's configuration in a folder or beside a file; empty where there is none, or another model's."""
    from capreward.encoders.checkpoints.folder import read_json

    file = (path if path.is_dir() else path.parent) / CONFIG
    found = read_json(file) if file.is_file() else {}
    return found if found.get("model_type") == MODEL_TYPE else {}


def _check_tower(released: Released, tower: Any, source: str) -> None:
    """Refuse a named tower that gives other tokens than the checkpoint's own."""
    from capreward.encoders.model.image_tokens import tokens_digest

    if any(n.startswith(TOWER) for n in released.tensors):
        own = tokens_digest(dico_tower(released).model)
        if own != tower.digest:
            raise InputError(f"{source} is not the image tower that {released.path} was trained on; leave it out")


def _sizes(released: Released, table: _Table, longest: int | None) -> GridSizes:
    from trainers.captioners.grid import GridSizes

    where = table.where
    width, places = table[ANCHOR].shape[1], len(table[f"{DECODER}wpe.weight"])
    inner = {
        "encoder": table[f"{ENCODER}encoder.layer.0.intermediate.dense.weight"].shape[0],
        "decoder": table[f"{DECODER}h.0.mlp.c_fc.weight"].shape[1],
    }
    told = {"encoder": released.part("encoder", "encoder"), "decoder": released.part("decoder")}
    said = {"encoder": told["encoder"].get("num_attention_heads"), "decoder": told["decoder"].get("n_head")}
    if None in said.values() and width % HEAD_WIDTH:
        raise InputError(
            f"{where} is {width} wide, so its heads, {HEAD_WIDTH} wide in DiCO's, cannot be told; "
            f"put its {CONFIG} beside it"
        )
    heads = {part: int(width // HEAD_WIDTH if count is None else count) for part, count in said.items()}
    for name, found in (("feed-forward width", inner), ("number of heads", heads)):
        if found["encoder"] != found["decoder"]:
            both = f"{found['encoder']} in its encoder and {found['decoder']} in its decoder"
            raise InputError(f"{where} has a {name} of {both}; DiCO's are the same")
    for part, known in _SAID.items():
        for name, value in known.items():
            if told[part].get(name, value) != value:
                raise InputError(f"{where}: its {part} has {name} {told[part][name]!r}; DiCO's has {value!r}")
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
    """The checkpoint's tensors by the captioner's names."""
    found = {"words.weight": table[ANCHOR], "positions.weight": table[f"{DECODER}wpe.weight"][: sizes.longest]}
    if HEAD in table.tensors and not bool((table[HEAD] == found["words.weight"]).all()):
        raise InputError(f"{table.where}: its {HEAD} is not its word embedding; DiCO's decoder ties the two")
    embeddings = f"{ENCODER}embeddings."
    places = table[f"{embeddings}position_embeddings.weight"]
    if len(places) < tokens:
        raise InputError(f"{table.where} has places for {len(places)} image tokens, and its tower gives {tokens}")
    found["image_positions"] = places[:tokens] + table[f"{embeddings}token_type_embeddings.weight"][0]
    bridge = "encoder.vis_enc_to_enc_proj"
    for kind in ("weight", "bias"):
        found[f"image_norm.{kind}"] = table[f"{embeddings}LayerNorm.{kind}"]
        found[f"final_norm.{kind}"] = table[f"{DECODER}ln_f.{kind}"]
        if f"{bridge}.{kind}" in table.tensors:  # absent where the tower is as wide as the encoder
            found[f"bridge.{kind}"] = table[f"{bridge}.{kind}"]
        for i in range(sizes.encoder_layers):
            found.update(_encoder_layer(table, f"{ENCODER}encoder.layer.{i}.", f"encoder.{i}.", kind))
        for i in range(sizes.decoder_layers):
            found.update(_decoder_layer(table, f"{DECODER}h.{i}.", f"decoder.{i}.", kind))
    table.finish()
    return found


def _encoder_layer(table: _Table, theirs: str, ours: str, kind: str) -> dict[str, Tensor]:
    import torch

    found = {f"{ours}{name}.{kind}": table[f"{theirs}{part}.{kind}"] for name, part in _ENCODER_PARTS.items()}
    key_value = [table[f"{theirs}attention.self.{part}.{kind}"] for part in ("key", "value")]
    return {**found, f"{ours}attention.key_value.{kind}": torch.cat(key_value)}


def _decoder_layer(table: _Table, theirs: str, ours: str, kind: str) -> dict[str, Tensor]:
    """GPT-2's Conv1D keeps its weights as (in, out): the transpose of a Linear's."""
    found = {f"{ours}{name}.{kind}": table[f"{theirs}{part}.{kind}"] for name, part in _NORMS.items()}
    for name, part in _CONV1D.items():
        found[f"{ours}{name}.{kind}"] = table[f"{theirs}{part}.{kind}"].t()
    fused = table[f"{theirs}attn.c_attn.{kind}"].t()
    width = len(fused) // 3
    found[f"{ours}self_attention.query.{kind}"] = fused[:width]
    found[f"{ours}self_attention.key_value.{kind}"] = fused[width:]
    return found
