"""From what a user names to tensors and the specification of their encoder; no module is built here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.encoders.checkpoints.checkpoint import Checkpoint, read_checkpoint, sha256_of
from capreward.encoders.spec import STATISTICS, EncoderSpec, Preprocessing, Triple
from capreward.encoders.weights.base_weights import joined_digest
from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.layouts.huggingface import HFConfig
    from capreward.encoders.layouts.recognition import Layout

DECODES = ("careful", "original")


@dataclass(frozen=True)
class Asked:
    """What the user says about weights that their file may not say.

    Attributes:
        quick_gelu: activation; None leaves it to the file's configuration, or to OpenAI's.
        statistics: image statistics ``openai``, ``half`` or ``imagenet``; None likewise.
        decode: ``careful`` or ``original``, see :class:`~capreward.encoders.spec.Preprocessing`.
        lora_mlp: fold PAC-S++'s MLP factors too.
        drop_unknown: leave out objects of a pickle that are neither tensors nor plain containers.
        download: fetch ``MODEL:TAG`` and ``hf-hub:`` weights that are not on this computer.
        base: weights whose image tower completes a file that has none.
    """

    quick_gelu: bool | None = None
    statistics: str | None = None
    decode: str = "careful"
    lora_mlp: bool = False
    drop_unknown: bool = False
    download: bool = False
    base: str | Path | None = None

    def check(self) -> None:
        """Refuse unknown names.

        Raises:
            InputError: which one, and the names there are.
        """
        if self.statistics is not None and self.statistics not in STATISTICS:
            raise InputError(f"statistics={self.statistics!r} is none of {', '.join(STATISTICS)}")
        if self.decode not in DECODES:
            raise InputError(f"decode={self.decode!r} is none of {', '.join(DECODES)}")


@dataclass(frozen=True)
class Weights:
    """Tensors with all that is known about them.

    Attributes:
        spec: name, layout, hash, architecture, preprocessing and notes.
        tensors: in open_clip's names.
        head: CLIP-Caption-Reward's grammar head, or None.
        folder: where tokenizer files are looked for, or None.
    """

    spec: EncoderSpec
    tensors: dict[str, Tensor]
    head: dict[str, Tensor] | None = None
    folder: Path | None = None


def read_weights(source: str | Path, asked: Asked | None = None) -> Weights:
    """Read the weights that ``source`` names.

    Args:
        source: a weights file; a folder of open_clip (``open_clip_config.json``) or transformers (``config.json``),
            also as ``local-dir:FOLDER``; open_clip's ``MODEL:TAG``; ``hf-hub:ORGANISATION/NAME``; or ``scenes-clip``,
            ``scenes-pacs``, ``scenes-grammar``, ``scenes-judge``, which ship with capreward.
        asked: what the user says about them.

    Raises:
        InputError: nothing of that name, or weights that cannot be used, in one sentence.
    """
    asked = asked or Asked()
    asked.check()
    text = str(source)
    from capreward.encoders.weights import folders, tags

    if text.startswith("hf-hub:"):
        return folders.read_folder(tags.hub_folder(text, download=asked.download), asked, name=text)
    if (shipped := folders.shipped_folder(text)) is not None:
        return folders.read_folder(shipped, asked, name=text)
    path = Path(text.removeprefix("local-dir:")).expanduser()
    if path.is_dir():
        return folders.read_folder(path, asked)
    if path.exists():
        return folders.read_beside_config(path, asked) or read_file(path, asked)
    if text.startswith("local-dir:"):
        raise InputError(f"there is no folder {path}")
    if tags.names_model(text):
        return tags.read_tag(text, asked)
    raise InputError(
        f"there is no weights file or folder {text}; name one, open_clip's MODEL:TAG (ViT-B-32:openai), "
        "or hf-hub:ORGANISATION/NAME"
    )


def read_file(path: Path, asked: Asked) -> Weights:
    """Read a file that stands alone: its architecture is in its shapes."""
    checkpoint = read_checkpoint(path, drop_unknown=asked.drop_unknown)
    return from_checkpoint(checkpoint, [path], path.name, asked)


def from_checkpoint(
    checkpoint: Checkpoint,
    paths: list[Path],
    name: str,
    asked: Asked,
    *,
    config: HFConfig | None = None,
    preprocessing: Mapping[str, Any] | None = None,
) -> Weights:
    """Recognise a checkpoint's layout and settle what its shapes leave open.

    Args:
        checkpoint: the tensors of one or several files.
        paths: of the files.
        name: for signatures.
        asked: by the user.
        config: of transformers, where there is one.
        preprocessing: mean, std and interpolation, where a configuration says them.

    Raises:
        InputError: another model, a CLIP with parts missing, or a text tower alone.
    """
    from capreward.encoders.layouts.recognition import recognise

    where = str(paths[0])
    layout = recognise(checkpoint.tensors, where, lora_mlp=asked.lora_mlp, config=config)
    if checkpoint.dropped:
        left_out = f"objects of {', '.join(checkpoint.dropped)} in {name} are left out"
        layout = replace(layout, notes=(*layout.notes, left_out))
    known = preprocessing or {}
    if layout.has_image_tower:
        return _settled(layout, paths, name, asked, known)
    if asked.base is not None:
        base = read_weights(asked.base, replace(asked, base=None))
        same = replace(asked, quick_gelu=base.spec.quick_gelu, statistics="openai")  # image steps follow from the base
        return _completed(_settled(layout, paths, name, same, known), base, where)
    if layout.head is None:
        raise InputError(
            f"{where} has a text tower and no image tower; give the CLIP that it was tuned from by base= or --base"
        )
    note = f"{name} has no image tower: give the CLIP that it was tuned from by base= or --base to encode images"
    return _settled(replace(layout, notes=(note, *layout.notes)), paths, name, asked, known)


def _settled(layout: Layout, paths: list[Path], name: str, asked: Asked, known: Mapping[str, Any]) -> Weights:
    """Decide activation and image steps, and say what was assumed."""
    own = layout.model_cfg.get("quick_gelu")
    notes = [*layout.notes, *_assumed(name, asked, activation=own is not None, statistics="mean" in known)]
    notes += unscaled(layout.tensors, name)
    quick_gelu = asked.quick_gelu if asked.quick_gelu is not None else own is not False
    spec = EncoderSpec(
        name=name,
        layout=layout.name,
        sha256=sha256_of(paths),
        model_cfg={**layout.model_cfg, "quick_gelu": quick_gelu},
        preprocessing=preprocessing_of(layout.model_cfg, known, asked, str(paths[0])),
        notes=tuple(notes),
    )
    return Weights(spec, layout.tensors, layout.head, paths[0].parent)


def unscaled(tensors: Mapping[str, Tensor], name: str) -> list[str]:
    """A sentence about weights without the scale of their logits."""
    if "logit_scale" in tensors:
        return []
    return [f"{name} has no logit_scale: no feature depends on it, but these weights cannot be tuned or converted"]


def _completed(weights: Weights, base: Weights, where: str) -> Weights:
    """A text tower with the image tower, and the image steps, of the CLIP that it was tuned from."""
    spec, whole = weights.spec, base.spec
    if whole.model_cfg["embed_dim"] != spec.model_cfg["embed_dim"]:
        sizes = f"{spec.model_cfg['embed_dim']} and {whole.model_cfg['embed_dim']}"
        raise InputError(f"{where} and its base {whole.name} have features of {sizes} numbers; they must be the same")
    merged = replace(
        spec,
        name=f"{spec.name}+{whole.name}",
        sha256=joined_digest(spec.sha256, whole.sha256),
        model_cfg={**spec.model_cfg, "vision_cfg": whole.model_cfg["vision_cfg"]},
        preprocessing=whole.preprocessing,
        notes=(*whole.notes, *spec.notes),
        images=whole if spec.quick_gelu == whole.quick_gelu else None,
    )
    images = {n: t for n, t in base.tensors.items() if n.startswith("visual.")}
    return replace(weights, spec=merged, tensors={**weights.tensors, **images})


def _assumed(name: str, asked: Asked, *, activation: bool, statistics: bool) -> list[str]:
    """A sentence about what neither the file nor the user says; OpenAI's values are taken."""
    taken = {}
    if asked.quick_gelu is None and not activation:
        taken["activation"] = "QuickGELU"
    if asked.statistics is None and not statistics:
        taken["image statistics"] = "OpenAI's"
    if not taken:
        return []
    return [
        f"{name} does not say its {' and '.join(taken)}; taken: {' and '.join(taken.values())} "
        "(quick_gelu and statistics change that)"
    ]


def preprocessing_of(model_cfg: Mapping[str, Any], known: Mapping[str, Any], asked: Asked, where: str) -> Preprocessing:
    """The image steps of an architecture, by its configuration and by what the user says.

    Args:
        model_cfg: open_clip's; the image size is its own.
        known: ``mean``, ``std``, ``interpolation``, ``resize_mode`` of a configuration; OpenAI's where missing.
        asked: by the user; statistics given there win.
        where: names the source in messages.

    Raises:
        InputError: steps that no encoder here takes: an image that is not square, ``resize_mode: longest``.
    """
    size = model_cfg["vision_cfg"].get("image_size", 224)
    sides = list(size) if isinstance(size, (list, tuple)) else [size]
    interpolation = known.get("interpolation") or "bicubic"
    resize = known.get("resize_mode") or "shortest"
    if len(set(sides)) > 1:
        raise InputError(f"{where} takes images of {sides[1]} by {sides[0]} pixels; only square ones are supported")
    if resize not in ("shortest", "squash"):
        raise InputError(f"{where} has the resize mode {resize!r}; only shortest and squash are supported")
    mean, std = STATISTICS[asked.statistics or "openai"]
    if asked.statistics is None:
        mean, std = _triple(known.get("mean"), mean, where), _triple(known.get("std"), std, where)
    return Preprocessing(
        size=int(sides[0]),
        mean=mean,
        std=std,
        interpolation="bicubic" if interpolation == "random" else interpolation,
        resize=resize,
        decode=asked.decode,
    )


def _triple(values: Any, default: Triple, where: str) -> Triple:
    if values is None:
        return default
    found = tuple(float(v) for v in (values if isinstance(values, (list, tuple)) else [values] * 3))
    if len(found) != 3:
        raise InputError(f"{where} has {len(found)} channels in its mean or std; 3 are needed")
    return found
