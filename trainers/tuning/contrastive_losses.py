"""The contrastive losses between images and captions, and the retrieval between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def info_nce(image: Tensor, text: Tensor, scale: Tensor) -> Tensor:
    """Compute the symmetric InfoNCE over the batch (Radford et al. 2021, figure 3).

    Args:
        image: Image features [B, D], L2-normalised.
        text: Text features [B, D], L2-normalised; row i belongs to image i.
        scale: The inverse temperature, a scalar.

    Returns:
        A scalar: the mean of image-to-text and text-to-image cross-entropy.
    """
    import torch
    from torch.nn.functional import cross_entropy

    logits = scale * image @ text.T
    own = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def joint_info_nce(image: Tensor, text: Tensor, wrong: Tensor, scale: Tensor) -> Tensor:
    """Compute InfoNCE with wrong captions as further columns of the image-to-text softmax (clipreward.md 6.3).

    Args:
        image: Image features [B, D], L2-normalised like the others.
        text: Text features [B, D]; row i belongs to image i.
        wrong: Features [M, D] of captions of no image.
        scale: The inverse temperature, a scalar.
    """
    import torch
    from torch.nn.functional import cross_entropy

    logits = scale * image @ torch.cat([text, wrong]).T
    own = torch.arange(len(image), device=image.device)
    return (cross_entropy(logits, own) + cross_entropy(logits[:, : len(text)].T, own)) / 2


def retrieval(image: Tensor, text: Tensor) -> dict[str, float]:
    """Compute the share of texts whose image is among the first k, and the other way round, for k of 1, 5 and 10.

    Args:
        image: Image features [N, D], L2-normalised.
        text: Text features [N, D], L2-normalised; row i belongs to image i.
    """
    from capreward.retrieval_ranks import retrieval_ranks as both_ways

    found_ranks = both_ways(text, image)
    ways = {"text_to_image": found_ranks.text_to_image.ranks(), "image_to_text": found_ranks.image_to_text.ranks()}
    return {f"{way}_r{k}": (ranks <= k).double().mean().item() for way, ranks in ways.items() for k in (1, 5, 10)}


def positive_augmented(
    image: Tensor,
    text: Tensor,
    more_image: Tensor,
    more_text: Tensor,
    scale: Tensor,
    *,
    image_weight: float = 0.05,
    text_weight: float = 0.1,
) -> Tensor:
    """Compute PAC-S's loss: InfoNCE of the pairs, of generated images and of generated captions.

    The loss is L(v, t) + image_weight * L(v', t) + text_weight * L(v, t') (Sarto et al. 2023, section 3.2).

    Args:
        image: Image features [B, D], L2-normalised like the others.
        text: Features [B, D] of the captions.
        more_image: Features [B, D] of further images of the same content.
        more_text: Features [B, D] of further captions of the same content.
        scale: The inverse temperature, a scalar.
        image_weight: The weight of the generated images.
        text_weight: The weight of the generated captions.
    """
    generated = image_weight * info_nce(more_image, text, scale) + text_weight * info_nce(image, more_text, scale)
    return info_nce(image, text, scale) + generated


def retrieval_ranks(query: Tensor, gallery: Tensor) -> Tensor:
    """Compute the rank of each query's own row in the gallery, 0 for the best; ties count against it.

    Args:
        query: Query features [N, D], L2-normalised.
        gallery: Gallery features [N, D], L2-normalised; row i is the right one for query i.

    Returns:
        The ranks, int64 [N].
    """
    from capreward.retrieval_ranks import retrieval_ranks as both_ways

    return both_ways(query, gallery).text_to_image.ranks().long() - 1
