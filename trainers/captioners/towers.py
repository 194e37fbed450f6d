"""The image side of a captioner: a frozen CLIP tower, stored features, or a small tower that learns from scratch."""

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
    """From images to tokens, in two parts: ``look`` is frozen and done once, ``learn`` is trained.

    Attributes:
        shape: (S, D), tokens of an image and their width.
        preprocessing: of the crops; None where stored features alone are taken.
    """

    shape: tuple[int, int]
    preprocessing: Preprocessing | None = None

    def look(self, images: Tensor) -> Tensor:
        """Crops uint8 [B, side, side, 3] or stored features [B, S, D] to what ``learn`` takes; no gradient."""
        raise NotImplementedError

    def learn(self, inputs: Tensor) -> Tensor:
        """To tokens [B, S, D]; nothing, where nothing is trained."""
        return inputs

    def frozen_parts(self) -> list[object]:
        """What is neither trained nor saved."""
        return []

    def check_store(self, store: FeatureStore) -> None:
        """Refuse stored features that this tower would not have given.

        Raises:
            InputError: what differs.
        """
        raise InputError(f"{store.path} holds features, and this captioner's tower takes pictures")

    def configuration(self) -> dict[str, Any]:
        """Its name and hash, or its sizes."""
        raise NotImplementedError


class StoredTower(Tower):
    """Stored features alone: of ``capreward embed``, or from elsewhere.

    Args:
        shape: (S, D); a feature without tokens is one token.
        encoder: what made them, as a feature store tells; nothing is known of features from elsewhere.
    """

    def __init__(self, shape: tuple[int, int], encoder: dict[str, str] | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = dict(encoder or {})

    def look(self, images: Tensor) -> Tensor:
        """The features, as [B, S, D].

        Raises:
            InputError: pixels, or features of another shape.
        """
        if images.dtype == torch.uint8:
            raise InputError(
                "this captioner was trained on stored features and has no tower for pictures; name the one with --tower"
            )
        if tuple(images.shape[1:]) not in (self.shape, self.shape[1:] * (self.shape[0] == 1)):
            raise InputError(f"this captioner takes features {list(self.shape)}; found {list(images.shape[1:])}")
        return images.reshape(len(images), *self.shape)

    def check_store(self, store: FeatureStore) -> None:
        """Refuse features of another shape, other weights or other image steps; precision may differ.

        Raises:
            InputError: what differs.
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
        """Shape and origin."""
        return {"kind": "stored", "shape": list(self.shape), "encoder": self.encoder}


class _Frozen:
    """Keeps a CLIP out of a module's parts, and one for all copies of it."""

    def __init__(self, clip: Clip) -> None:
        self.model = clip.model
        self.tokenizer = clip.tokenizer

    def __deepcopy__(self, memo: dict[int, Any]) -> _Frozen:
        return self


class ClipTower(StoredTower):
    """The tokens of a CLIP's image tower, before its last norm and projection (dico.md 2.1); frozen.

    The CLIP is no part of the module: it is neither trained nor saved, copies of a captioner share it, and it moves to
    the device of its first picture.

    Args:
        clip: loaded.
        source: what it was loaded from, to find it again.
        side: of the pixels, where it is not the CLIP's own; for ResNets alone.
        resize: ``shortest`` or ``squash``, where it is not the CLIP's own.
        cropping: ``torchvision`` or ``transformers``, where it is not the CLIP's own; see
            :class:`~capreward.encoders.spec.Preprocessing`.

    Attributes:
        digest: of all that its tokens depend on, the same in every layout of one tower.

    Raises:
        InputError: a tower that has no tokens, or a side that it cannot take.
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
        self._frozen = _Frozen(clip)
        self._tokens = image_tokens

    def look(self, images: Tensor) -> Tensor:
        """Tokens [B, S, D] of crops, in float32; stored features of this very tower pass through."""
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
        """The CLIP's model."""
        return [self._frozen.model]

    def vocabulary(self) -> ClipVocabulary:
        """The byte-pair encoding of the CLIP's own text tower.

        Raises:
            InputError: a text tower with a tokenizer of another kind.
        """
        if not hasattr(self._frozen.tokenizer, "bpe_ranks"):
            raise InputError(f"{self.source} has a tokenizer of another kind; give captioner.vocabulary=clip")
        return ClipVocabulary(tokenizer=self._frozen.tokenizer)

    def configuration(self) -> dict[str, Any]:
        """Source and hash of the weights, and the digest by which they are known in another file."""
        known = {"source": self.source, "sha256": self.sha256, "tokens": self.digest, "shape": list(self.shape)}
        return {"kind": "clip", **known, **self._steps, "act": self.encoder["act"], "prep": self.encoder["prep"]}


class PatchTower(Tower):
    """A small convolutional tower that is trained with the captioner, where there is no pretrained one.

    Args:
        side: of the crops, a multiple of 16.
        width: D of the tokens.
        dropout: of whole channels after the last layer.
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
        """Normalised pixels [B, 3, side, side].

        Raises:
            InputError: stored features.
        """
        from capreward.data.images.preprocessing import normalise

        if images.dtype != torch.uint8:
            raise InputError("this captioner has a tower of its own, which takes pictures; found stored features")
        assert self.preprocessing is not None  # noqa: S101  # for the type checker: it is set above
        return normalise(images, self.preprocessing)

    def learn(self, inputs: Tensor) -> Tensor:
        """Tokens [B, S, D]."""
        found = nn.functional.dropout2d(self.layers(inputs), self.dropout, self.training)
        return found.flatten(2).transpose(1, 2)

    def configuration(self) -> dict[str, Any]:
        """Sizes."""
        return {"kind": "patch", "side": self.side, "width": self.width, "dropout": self.dropout}


def tower_of(configuration: dict[str, Any], **options: Any) -> Tower:
    """The tower that a configuration names.

    Args:
        configuration: ``{"kind": "clip", "source": ...}``, ``{"kind": "patch", ...}`` or ``{"kind": "stored", ...}``.
        options: of :func:`capreward.encoders.loading.load_clip`; ``source`` in place of the one named, where the
            weights lie elsewhere now, and to look at pictures with a captioner of stored tokens.

    A configuration without ``cropping`` means ``torchvision``, which was the only one when it was written.

    Raises:
        InputError: an unknown kind, weights that are not found, or others than those the captioner was trained with.
    """
    given = dict(configuration)
    kind = given.pop("kind", None)
    named = options.pop("source", None)
    if kind == "patch":
        if named is not None:
            raise InputError("this captioner trained its own tower, which lies in its weights; leave --tower out")
        return PatchTower(**given)
    if kind == "stored":
        if named is None:
            return StoredTower(tuple(given["shape"]), given.get("encoder"))
        given = _made_features(given)
    elif kind != "clip":
        raise InputError(f"the tower is {kind!r}; known are clip, patch and stored")
    source = str(named or given["source"])
    options = {**_loaded_with(given), **options}
    steps = {name: given.get(name) for name in ("side", "resize", "cropping")}
    tower = ClipTower(clip_of_source(source, **options), source, **steps)
    known = [(given[n], full) for n, full in (("tokens", tower.digest), ("sha256", tower.sha256)) if given.get(n)]
    same = not known or any(full.startswith(start) for start, full in known)
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


def _made_features(given: dict[str, Any]) -> dict[str, Any]:
    """The tower that made the tokens which a captioner was trained on, so that it can look at pictures itself."""
    encoder = given.get("encoder") or {}
    if not {"model", "sha", "prep", "tokens"} <= set(encoder):
        what = "pooled features" if encoder else "stored features of unknown origin"
        raise InputError(f"this captioner was trained on {what}, which no tower of --tower gives; leave it out")
    side, resize, *others = str(encoder["prep"]).split("-")
    steps = {"side": int(side), "resize": resize, "cropping": others[3] if len(others) > 3 else None}
    steps |= {"act": encoder.get("act"), "prep": encoder["prep"]}
    found = {"source": encoder["model"], "sha256": encoder["sha"], "tokens": encoder["tokens"], **steps}
    return {"shape": given["shape"], **{name: value for name, value in found.items() if value is not None}}


def _loaded_with(given: dict[str, Any]) -> dict[str, Any]:
    """Options of ``load_clip`` that a tower was loaded with, where its file may not say them."""
    found: dict[str, Any] = {}
    if "act" in given:
        found["quick_gelu"] = given["act"] == "quickgelu"
    steps = str(given.get("prep", "")).split("-")
    if len(steps) >= 5 and steps[3] in STATISTICS:
        found["statistics"], found["decode"] = steps[3], steps[4]
    return found


def clip_of_source(source: str, **options: Any) -> Clip:
    """Load a tower from CLIP weights of any known layout, or from inside a captioner's checkpoint.

    Args:
        source: what :func:`capreward.encoders.loading.load_clip` takes, or a DiCO checkpoint.
        options: of ``load_clip``.

    Raises:
        InputError: weights that are missing, damaged or of another model.
    """
    from capreward.encoders.loading import load_clip
    from trainers.captioners.layouts.dico_checkpoint import dico_tower, is_dico, read_dico

    path = Path(source)
    if path.exists() and is_dico(path):
        return dico_tower(read_dico(path), **options)
    return load_clip(source, **options)
