"""A CLIP at work for captioners: its image tower's tokens in place of one feature."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from capreward.encoders.encoder import Encoder
from capreward.encoders.model.image_tokens import image_tokens, token_spec, tokens_digest, tokens_shape

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.encoders.loading import Clip


class TokenEncoder(Encoder):
    """Gives tokens [S, D] of each picture, before the last norm, pooling and projection; see ``image_tokens``.

    Args:
        clip: the loaded model.
        side: of the pixels, where it is not the model's own; for ResNets alone.
        resize: ``shortest`` or ``squash``, where it is not the model's own.
        cropping: ``torchvision`` or ``transformers``, where it is not the model's own.
        precision: ``fp32``, ``bf16`` or ``fp16``, in which it was loaded.
        batch_size: images per batch; found by trial where None.

    Raises:
        InputError: a tower that has no tokens, or a side that it cannot take.
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
        """(S, D)."""
        return self._shape

    def fields(self) -> dict[str, object]:
        """What of it changes a token, with a digest of the image tower that is the same in every layout of it."""
        return {**super().fields(), "tokens": self._digest[:12]}

    def image_fields(self) -> dict[str, object]:
        """The same."""
        return self.fields()

    def _encode(self, pixels: Tensor) -> Tensor:
        return image_tokens(self.clip.model, pixels)
