"""The objective of PAC-S and PAC-S++: pairs of images and captions, and of generated images and captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from capreward.encoders.layouts.lora import ALPHA
from capreward.errors import InputError
from trainers.tuning.objective import Objective, Pairs

if TYPE_CHECKING:
    import random

    from torch import Tensor, nn

ADAPT = ("projections", "lora")
_IMAGE = ("visual.proj", "visual.attnpool.c_proj", "visual.head.proj")  # ViT, ResNet, timm
_TEXT = ("text_projection", "text.text_projection", "text.proj")  # CLIP, CustomTextCLIP, a tower of transformers


class PositiveAugmented(Objective):
    """InfoNCE of the pairs, and with smaller weights of generated images and captions (Sarto et al. 2023, section 3.2).

    Args:
        adapt: ``projections`` trains the last projection of both towers (PAC-S), ``lora`` low-rank factors (PAC-S++).
        rank: The rank of the factors.
        alpha: The size of the factors, which is divided by the rank.
        image_weight: The weight of generated images with the captions; 0 if there are none.
        text_weight: The weight of the images with generated captions; 0 if there are none.

    Raises:
        InputError: ``adapt`` is unknown, a weight is negative, or both weights are zero.
    """

    name = "pac"
    needs_images = True
    wants_more = True

    def __init__(
        self,
        adapt: str = "projections",
        rank: int = 4,
        alpha: float = ALPHA,
        image_weight: float = 0.05,
        text_weight: float = 0.1,
    ) -> None:
        if adapt not in ADAPT:
            raise InputError(f"adapt is {adapt!r}; projections (PAC-S) and lora (PAC-S++) are known")
        if min(image_weight, text_weight) < 0 or image_weight + text_weight <= 0:
            raise InputError(
                f"image_weight and text_weight are {image_weight:g} and {text_weight:g}; 0 or more, and one above 0"
            )
        self.adapt, self.rank, self.alpha = adapt, rank, alpha
        self.image_weight, self.text_weight = image_weight, text_weight

    def prepare(self, model: nn.Module) -> nn.ModuleDict:
        """Freeze all but the projections, or all but new factors; the temperature stays as it is.

        Raises:
            InputError: A tower has no projection, or takes no factors.
        """
        from torch import nn

        from trainers.tuning.lora_factors import add_lora

        if self.adapt == "lora":
            add_lora(model, self.rank, self.alpha)
            return nn.ModuleDict()
        names = [name for name, _ in model.named_parameters()]
        wanted = [*_projections(names, _IMAGE, "image"), *_projections(names, _TEXT, "text")]
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name in wanted)
        return nn.ModuleDict()

    def texts(self, pairs: Pairs, chances: Sequence[random.Random]) -> list[str]:
        """Return the captions, then the generated ones; nothing is drawn.

        Raises:
            InputError: Generated captions have a weight and are missing, or their number differs.
        """
        del chances
        if not self.text_weight:
            return list(pairs.captions)
        more = pairs.more_captions
        if more is None or len(more) != len(pairs.captions):
            count = "none" if more is None else str(len(more))
            raise InputError(
                f"the pac recipe wants a generated caption for each of {len(pairs.captions)} pairs, found {count}; "
                "give more_captions, or text_weight: 0"
            )
        return [*pairs.captions, *more]

    def loss(
        self,
        image: Tensor | None,
        more_image: Tensor | None,
        states: Tensor,
        features: Tensor,
        extra: nn.ModuleDict,
        scale: Tensor,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the weighted sum; the statistic ``clip_loss`` is the loss of the pairs alone.

        Raises:
            InputError: Images are missing, or generated images have a weight and are missing.
        """
        from trainers.tuning.contrastive_losses import info_nce, positive_augmented

        del states, extra
        if image is None or (more_image is None and self.image_weight):
            lacking = "images" if image is None else "generated images"
            raise InputError(
                f"the pac recipe wants {lacking}; give them" + ("" if image is None else ", or image_weight: 0")
            )
        text, more_text = features[: len(image)], features[len(image) :]
        loss = positive_augmented(
            image,
            text,
            image if more_image is None else more_image,
            more_text if self.text_weight else text,
            scale,
            image_weight=self.image_weight,
            text_weight=self.text_weight,
        )
        return loss, {"clip_loss": info_nce(image, text, scale).detach()}

    def validate(self, texts: Sequence[str], states: Tensor, extra: nn.ModuleDict) -> dict[str, float]:
        """Return nothing, because loss and retrieval are the only figures."""
        del texts, states, extra
        return {}

    def folded(self, model: nn.Module, extra: nn.ModuleDict) -> Mapping[str, Any]:
        """Return the plain state dict, with factors folded in."""
        from trainers.tuning.lora_factors import folded_state

        del extra
        return folded_state(model)


def _projections(names: Sequence[str], known_names: Sequence[str], tower: str) -> list[str]:
    """Return the parameters of a tower's projection."""
    projections = [
        name for name in names if name in known_names or name.startswith(tuple(f"{start}." for start in known_names))
    ]
    if not projections:
        raise InputError(f"the {tower} tower has no projection ({', '.join(known_names)}) to tune; use adapt: lora")
    return projections
