"""The text tower without its padding: causal attention never looks past the end of a caption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def can_trim(model: Any) -> bool:
    """Whether a model's text features do not depend on how far its captions are padded.

    So it is where attention is causal and the feature is read at the end token: open_clip's ``CLIP`` class, which
    holds OpenAI's, LAION's and PAC-S's weights.
    """
    from capreward.encoders.backend import import_open_clip

    return type(model) is import_open_clip().CLIP and model.text_pool_type == "argmax" and model.attn_mask is not None


def trimmed_text_features(model: Any, tokens: Tensor) -> Tensor:
    """Text features of tokens that end at the longest caption of the batch.

    A caption has about 15 tokens and the context 77, so this is a fifth of the work of ``model.encode_text``, with the
    same result.

    Args:
        model: one for which ``can_trim`` is true.
        tokens: int64 [N, L], L at most the context length, zeros after each end token.

    Returns:
        [N, D] projected features in the model's precision.
    """
    import torch

    length = tokens.shape[1]
    dtype = model.transformer.get_cast_dtype()
    x = model.token_embedding(tokens).to(dtype) + model.positional_embedding[:length].to(dtype)
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    ends = x[torch.arange(len(x), device=x.device), tokens.argmax(dim=-1)]
    ends = model.ln_final(ends)  # it works on each position alone: the end tokens' are enough
    features: Tensor = ends
    if isinstance(model.text_projection, torch.nn.Linear):
        features = model.text_projection(ends)
    elif model.text_projection is not None:
        features = ends @ model.text_projection
    return features
