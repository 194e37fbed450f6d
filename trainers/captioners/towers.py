"""The image towers of captioners: a frozen CLIP tower, stored features, or a small tower trained from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from capreward.encoders.spec import STATISTICS, Preprocessing
from capreward.encoders.store.header import field_text, plain_fields
from capreward.errors import InputError
from trainers.captioners.vocabulary import ClipVocabulary

if TYPE_CHECKING:
    from capreward.encoders.loading import Clip
    from capreward.encoders.store.feature_store import FeatureStore


class Tower(nn.Module):
    """A module that turns images into tokens in two parts: ``look`` is frozen and done once, ``learn`` is trained.

    Attributes:
        shape: The number S of tokens of an image and their width D, as (S, D).
        preprocessing: The preprocessing of the crops; None if the tower takes only stored features.
    """

    shape: tuple[int, int]
    preprocessing: Preprocessing | None = None

    def look(self, images: Tensor) -> Tensor:
        """Turn crops uint8 [B, side, side, 3] or stored features [B, S, D] into the input of ``learn``; no gradient."""
        raise NotImplementedError

    def learn(self, inputs: Tensor) -> Tensor:
        """Return tokens [B, S, D]; a tower without trained parts returns its inputs."""
        return inputs

    def frozen_parts(self) -> list[object]:
        """Return the parts that are neither trained nor saved."""
        return []

    def check_store(self, store: FeatureStore) -> None:
        """Refuse stored features that this tower would not have computed.

        Raises:
            InputError: The features differ; the message names the difference.
        """
        raise InputError(f"{store.path} holds features, and this captioner's tower takes pictures")

    def configuration(self) -> dict[str, Any]:
        """Return the name and hash of the weights, or the sizes of the tower."""
        raise NotImplementedError


class StoredTower(Tower):
    """A tower that takes only stored features, of ``capreward embed`` or from elsewhere.

    Args:
        shape: The shape (S, D) of a feature; a feature without tokens counts as one token.
        encoder: The encoder that computed them, as a feature store describes it; it is empty for features from
            elsewhere.
    """

    def __init__(self, shape: tuple[int, int], encoder: dict[str, str] | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = dict(encoder or {})

    def look(self, images: Tensor) -> Tensor:
        """Return the features as [B, S, D].

        Raises:
            InputError: The input is pixels, or features of another shape.
        """
        if images.dtype == torch.uint8:
            raise InputError(
                "this captioner was trained on stored features and has no tower for pictures; name the one with --tower"
            )
        if tuple(images.shape[1:]) not in (self.shape, self.shape[1:] * (self.shape[0] == 1)):
            raise InputError(f"this captioner takes features {list(self.shape)}; found {list(images.shape[1:])}")
        return images.reshape(len(images), *self.shape)

    def check_store(self, store: FeatureStore) -> None:
        """Refuse features of another shape, other weights or other image steps; the precision may differ.

        Raises:
            InputError: The features differ; the message names the difference.
        """
        if store.kind != "image" or store.shape not in (self.shape, self.shape[1:] * (self.shape[0] == 1)):
            what = f"{store.kind} features {list(store.shape)}"
            raise InputError(f"{store.path} holds {what}; this captioner takes image features {list(self.shape)}")
        if not self.encoder:
            return
        ours, theirs = self.encoder, store.fields
        # One tower has several files: its tokens' digest says that two of them hold the same weights.
        same = any(name in ours and ours[name] == theirs.get(name) for name in ("sha", "tokens"))
        if not same or ("tokens" in ours) != ("tokens" in theirs):
            raise InputError(
                f"features in {store.path} are of {field_text(theirs, 'sha')}, this captioner looks through "
                f"{field_text(ours, 'sha')}; embed the pictures anew with its tower"
            )
        for name in ("act", "prep"):
            if ours.get(name) != theirs.get(name):
                raise InputError(
                    f"features in {store.path} were made with {field_text(theirs, name)}, this captioner's tower takes "
                    f"{field_text(ours, name)}; embed the pictures anew"
                )

    def configuration(self) -> dict[str, Any]:
        """Return the shape and the origin of the features."""
        return {"kind": "stored", "shape": list(self.shape), "encoder": self.encoder}


class _SharedClip:
    """A holder that keeps a CLIP out of a module's parts; all copies of the module share the CLIP."""

    def __init__(self, clip: Clip) -> None:
        self.model = clip.model
        self.tokenizer = clip.tokenizer

    def __deepcopy__(self, memo: dict[int, Any]) -> _SharedClip:
        return self


class ClipTower(StoredTower):
    """A frozen tower that returns the tokens of CLIP's image tower before its last norm and projection (dico.md 2.1).

    The CLIP does not belong to the module: it is neither trained nor saved, copies of a captioner share it, and it
    moves to the device of its first picture.

    Args:
        clip: The loaded CLIP.
        source: The source that it was loaded from, so that it can be found again.
        side: The side of the pixels if it is not the CLIP's own; only ResNets take another one.
        resize: ``shortest`` or ``squash``, if it is not the CLIP's own.
        cropping: ``torchvision`` or ``transformers``, if it is not the CLIP's own; see
            :class:`~capreward.encoders.spec.Preprocessing`.

    Attributes:
        digest: The digest of everything that its tokens depend on; it is the same in every layout of one tower.

    Raises:
        InputError: The tower has no tokens, or cannot take this side.
    """

    def __init__(
        self,
        clip: Clip,
        source: str,
        *,
        side: int | None = None,
        resize: str | None = None,
        cropping: str | None = None,
    ) -> None:
        from capreward.encoders.model.image_tokens import image_tokens, token_spec, tokens_digest, tokens_shape

        spec = token_spec(clip.spec, side, resize, cropping)
        self.digest = tokens_digest(clip.model)
        super().__init__(tokens_shape(spec), plain_fields({**spec.fields(), "tokens": self.digest[:12]}))
        self.source = source
        self.sha256 = spec.sha256
        self.preprocessing = spec.preprocessing
        steps = {"side": side, "resize": resize, "cropping": cropping}
        self._steps = {name: value for name, value in steps.items() if value is not None}
        self._frozen = _SharedClip(clip)
        self._tokens = image_tokens

    def look(self, images: Tensor) -> Tensor:
        """Return float32 tokens [B, S, D] of crops; stored features of this very tower pass through."""
        from capreward.data.images.preprocessing import normalise

        if images.dtype != torch.uint8:
            return super().look(images)
        assert self.preprocessing is not None  # noqa: S101  # for the type checker: it is set above
        model = self._frozen.model
        if next(model.parameters()).device != images.device:
            model.to(images.device)
        with torch.no_grad():
            return self._tokens(model, normalise(images, self.preprocessing)).float()

    def frozen_parts(self) -> list[object]:
        """Return the CLIP's model."""
        return [self._frozen.model]

    def vocabulary(self) -> ClipVocabulary:
        """Return the byte-pair encoding of the CLIP's own text tower.

        Raises:
            InputError: The text tower has a tokenizer of another kind.
        """
        if not hasattr(self._frozen.tokenizer, "bpe_ranks"):
            raise InputError(f"{self.source} has a tokenizer of another kind; give captioner.vocabulary=clip")
        return ClipVocabulary(tokenizer=self._frozen.tokenizer)

    def configuration(self) -> dict[str, Any]:
        """Return source and hash of the weights, and the digest that identifies them in another file."""
        identity = {"source": self.source, "sha256": self.sha256, "tokens": self.digest, "shape": list(self.shape)}
        return {"kind": "clip", **identity, **self._steps, "act": self.encoder["act"], "prep": self.encoder["prep"]}


class PatchTower(Tower):
    """A small convolutional tower that is trained with the captioner if there is no pretrained one.

    Args:
        side: The side of the crops, a multiple of 16.
        width: The width D of the tokens.
        dropout: The dropout probability of whole channels after the last layer.
    """

    def __init__(self, side: int = 112, width: int = 256, dropout: float = 0.1) -> None:
        super().__init__()
        if side % 16 or side < 32 or width % 8:
            raise InputError(
                f"a patch tower needs a side that is a multiple of 16, a width of 8; found {side}, {width}"
            )
        self.shape = ((side // 16) ** 2, width)
        mean, std = STATISTICS["imagenet"]
        self.preprocessing = Preprocessing(size=side, mean=mean, std=std)
        self.side, self.width, self.dropout = side, width, dropout
        widths = (width // 8, width // 4, width // 2, width)
        layers: list[nn.Module] = []
        for before, after in zip((3, *widths), widths, strict=False):
            layers += [
                nn.Conv2d(before, after, 3, stride=2, padding=1),
                nn.GroupNorm(max(1, after // 16), after),
                nn.GELU(),
                nn.Conv2d(after, after, 3, padding=1),
                nn.GroupNorm(max(1, after // 16), after),
                nn.GELU(),
            ]
        self.layers = nn.Sequential(*layers)

    def look(self, images: Tensor) -> Tensor:
        """Return normalised pixels [B, 3, side, side].

        Raises:
            InputError: The input is stored features.
        """
        from capreward.data.images.preprocessing import normalise

        if images.dtype != torch.uint8:
            raise InputError("this captioner has a tower of its own, which takes pictures; found stored features")
        assert self.preprocessing is not None  # noqa: S101  # for the type checker: it is set above
        return normalise(images, self.preprocessing)

    def learn(self, inputs: Tensor) -> Tensor:
        """Compute tokens [B, S, D]."""
        maps = nn.functional.dropout2d(self.layers(inputs), self.dropout, self.training)
        return maps.flatten(2).transpose(1, 2)

    def configuration(self) -> dict[str, Any]:
        """Return the sizes of the tower."""
        return {"kind": "patch", "side": self.side, "width": self.width, "dropout": self.dropout}


def tower_of(configuration: dict[str, Any], **options: Any) -> Tower:
    """Build the tower that a configuration names.

    Args:
        configuration: ``{"kind": "clip", "source": ...}``, ``{"kind": "patch", ...}`` or ``{"kind": "stored", ...}``.
        options: Options of :func:`capreward.encoders.loading.load_clip`. ``source`` replaces the source of the
            configuration, if the weights lie elsewhere now, or if a captioner of stored tokens shall take pictures.

    A configuration without ``cropping`` means ``torchvision``, which was the only value when such files were written.

    Raises:
        InputError: The kind is unknown, the weights are not found, or they are not those of the captioner's training.
    """
    given = dict(configuration)
    kind = given.pop("kind", None)
    source_override = options.pop("source", None)
    if kind == "patch":
        if source_override is not None:
            raise InputError("this captioner trained its own tower, which lies in its weights; leave --tower out")
        return PatchTower(**given)
    if kind == "stored":
        if source_override is None:
            return StoredTower(tuple(given["shape"]), given.get("encoder"))
        given = _tower_of_features(given)
    elif kind != "clip":
        raise InputError(f"the tower is {kind!r}; known are clip, patch and stored")
    source = str(source_override or given["source"])
    options = {**_loading_options(given), **options}
    steps = {name: given.get(name) for name in ("side", "resize", "cropping")}
    tower = ClipTower(clip_of_source(source, **options), source, **steps)
    digests = [(given[n], full) for n, full in (("tokens", tower.digest), ("sha256", tower.sha256)) if given.get(n)]
    same = not digests or any(full.startswith(start) for start, full in digests)
    if not same or tuple(given.get("shape", tower.shape)) != tower.shape:
        own = f"{given['source']} ({str(given.get('sha256', 'unknown'))[:12]})"
        raise InputError(
            f"the captioner was trained on the tower {own}, and {source} "
            f"holds others ({tower.sha256[:12]}); name the right weights with --tower"
        )
    for name in ("act", "prep"):
        if given.get(name, tower.encoder[name]) != tower.encoder[name]:
            raise InputError(
                f"the captioner was trained with {field_text(given, name)}, and its tower {source} comes with "
                f"{field_text(tower.encoder, name)}; load it with the same"
            )
    return tower


def _tower_of_features(given: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of the tower that computed a captioner's stored tokens, so that it can take pictures."""
    encoder = given.get("encoder") or {}
    if not {"model", "sha", "prep", "tokens"} <= set(encoder):
        what = "pooled features" if encoder else "stored features of unknown origin"
        raise InputError(f"this captioner was trained on {what}, which no tower of --tower gives; leave it out")
    side, resize, *others = str(encoder["prep"]).split("-")
    steps = {"side": int(side), "resize": resize, "cropping": others[3] if len(others) > 3 else None}
    steps |= {"act": encoder.get("act"), "prep": encoder["prep"]}
    tower = {"source": encoder["model"], "sha256": encoder["sha"], "tokens": encoder["tokens"], **steps}
    return {"shape": given["shape"], **{name: value for name, value in tower.items() if value is not None}}


def _loading_options(given: dict[str, Any]) -> dict[str, Any]:
    """Return the options of ``load_clip`` that a tower was loaded with, where its file may not tell them."""
    options: dict[str, Any] = {}
    if "act" in given:
        options["quick_gelu"] = given["act"] == "quickgelu"
    steps = str(given.get("prep", "")).split("-")
    if len(steps) >= 5 and steps[3] in STATISTICS:
        options["statistics"], options["decode"] = steps[3], steps[4]
    return options


def clip_of_source(source: str, **options: Any) -> Clip:
    """Load a tower from CLIP weights of any known layout, or from inside a captioner's checkpoint.

    Args:
        source: A source that :func:`capreward.encoders.loading.load_clip` takes, or a DiCO checkpoint.
        options: Options of ``load_clip``.

    Raises:
        InputError: The weights are missing, damaged or of another model.
    """
    from capreward.encoders.loading import load_clip
    from trainers.captioners.layouts.dico_tensors import dico_tower, is_dico, read_dico

    path = Path(source)
    if path.exists() and is_dico(path):
        return dico_tower(read_dico(path), **options)
    return load_clip(source, **options)
