"""The encoder for captioners: it gives the tokens of a CLIP's image tower in place of one feature."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from capreward.encoders.encoder import Encoder
from capreward.encoders.model.image_tokens import image_tokens, token_spec, tokens_digest, tokens_shape

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.loading import Clip


class TokenEncoder(Encoder):
    """Gives the tokens [S, D] of each picture before the last norm, pooling and projection; see ``image_tokens``.

    Args:
        clip: The loaded model.
        side: The side of the input in pixels; None is the model's own. Only a ResNet takes another.
        resize: The resizing, ``shortest`` or ``squash``; None is the model's own.
        cropping: The cropping, ``torchvision`` or ``transformers``; None is the model's own.
        precision: The precision in which it was loaded: ``fp32`` (default), ``bf16`` or ``fp16``.
        batch_size: The number of images per batch; None finds it by trial.

    Raises:
        InputError: The tower has no tokens, or cannot take the side.
    """

    def __init__(
        self,
        clip: Clip,
        *,
        side: int | None = None,
        resize: str | None = None,
        cropping: str | None = None,
        precision: str = "fp32",
        batch_size: int | None = None,
    ) -> None:
        whole = replace(clip, spec=replace(token_spec(clip.spec, side, resize, cropping), images=None))
        super().__init__(whole, precision=precision, batch_size=batch_size)
        self._shape = tokens_shape(self.spec)
        self._digest = tokens_digest(clip.model)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape (S, D) of one picture's tokens."""
        return self._shape

    def fields(self) -> dict[str, object]:
        """Return the properties that change a token, with a digest of the image tower that is equal in every layout."""
        return {**super().fields(), "tokens": self._digest[:12]}

    def image_fields(self) -> dict[str, object]:
        """Return the same properties as ``fields``."""
        return self.fields()

    def _encode(self, pixels: Tensor) -> Tensor:
        return image_tokens(self.clip.model, pixels)
