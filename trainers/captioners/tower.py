"""The image side of a captioner: a frozen CLIP tower, stored features, or a small tower that learns from scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from capreward.encoders.spec import STATISTICS, Preprocessing
from capreward.errors import InputError
from trainers.captioners.vocabulary import ClipVocabulary

if TYPE_CHECKING:
    from capreward.encoders.loading import Clip


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
        """What copies may share."""
        return []

    def configuration(self) -> dict[str, Any]:
        """Its name and hash, or its sizes."""
        raise NotImplementedError


class StoredTower(Tower):
    """Stored features alone: of ``capreward embed``, or from elsewhere.

    Args:
        shape: (S, D); a feature without tokens is one token.
        encoder: what made them, as a feature store tells.
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
            raise InputError("this captioner was trained on stored features and has no tower for pictures")
        if tuple(images.shape[1:]) not in (self.shape, self.shape[1:] * (self.shape[0] == 1)):
            raise InputError(f"this captioner takes features {list(self.shape)}; found {list(images.shape[1:])}")
        return images.reshape(len(images), *self.shape)

    def configuration(self) -> dict[str, Any]:
        """Shape and origin."""
        return {"kind": "stored", "shape": list(self.shape), "encoder": self.encoder}


class ClipTower(StoredTower):
    """The tokens of a CLIP's image tower, before its last norm and projection (dico.md 2.1); frozen.

    The CLIP is no part of the module: it is neither trained nor saved, and moves to the device of its first picture.

    Args:
        clip: loaded.
        source: what it was loaded from, to find it again.
    """

    def __init__(self, clip: Clip, source: str) -> None:
        from capreward.encoders.image_tokens import image_tokens, tokens_shape

        super().__init__(tokens_shape(clip.spec), {k: str(v) for k, v in clip.spec.fields().items()})
        self.source = source
        self.sha256 = clip.spec.sha256
        self.preprocessing = clip.spec.preprocessing
        self._clip = [clip.model]  # in a list, so that it is no submodule
        self._tokens = image_tokens
        self._tokenizer = clip.tokenizer

    def look(self, images: Tensor) -> Tensor:
        """Tokens [B, S, D] of crops, in float32; stored features of this very tower pass through."""
        from capreward.data.images.preprocessing import normalise

        if images.dtype != torch.uint8:
            return super().look(images)
        assert self.preprocessing is not None  # noqa: S101  # for the type checker: it is set above
        model = self._clip[0]
        if next(model.parameters()).device != images.device:
            model.to(images.device)
        with torch.no_grad():
            return self._tokens(model, normalise(images, self.preprocessing)).float()

    def frozen_parts(self) -> list[object]:
        """The CLIP's model."""
        return list(self._clip)

    def vocabulary(self) -> ClipVocabulary:
        """The byte-pair encoding of the CLIP's own text tower.

        Raises:
            InputError: a text tower with a tokenizer of another kind.
        """
        if not hasattr(self._tokenizer, "bpe_ranks"):
            raise InputError(f"{self.source} has a tokenizer of another kind; give captioner.vocabulary=clip")
        return ClipVocabulary(tokenizer=self._tokenizer)

    def configuration(self) -> dict[str, Any]:
        """Source and hash of the weights."""
        return {"kind": "clip", "source": self.source, "sha256": self.sha256, "shape": list(self.shape)}


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
            weights lie elsewhere now.

    Raises:
        InputError: an unknown kind, weights that are not found, or others than those the captioner was trained with.
    """
    given = dict(configuration)
    kind = given.pop("kind", None)
    if kind == "patch":
        return PatchTower(**given)
    if kind == "stored":
        return StoredTower(tuple(given["shape"]), given.get("encoder"))
    if kind != "clip":
        raise InputError(f"the tower is {kind!r}; known are clip, patch and stored")
    from capreward.encoders.loading import load_clip

    source = str(options.pop("source", None) or given["source"])
    clip = load_clip(source, **options)
    if given.get("sha256") not in (None, clip.spec.sha256):
        raise InputError(
            f"the captioner was trained on the tower {given['source']} ({str(given['sha256'])[:12]}), and {source} "
            f"holds others ({clip.spec.sha256[:12]}); name the right weights with --tower"
        )
    return ClipTower(clip, source)
