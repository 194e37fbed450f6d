"""The text tower without its padding: causal attention never looks past the end of a caption."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def can_trim(model: Any) -> bool:
    """Whether a model's text features do not depend on how far its captions are padded.

    So it is where attention is causal and the feature is read at the end token: open_clip's ``CLIP`` class, which
    holds OpenAI's, LAION's and PAC-S's weights.
    """
    from capreward.encoders.model.backend import import_open_clip

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
    return projected(model, _trimmed_states(model, tokens))


def text_states(model: Any, tokens: Tensor) -> Tensor:
    """What the text tower says of whole texts, after its final norm and before the projection.

    A grammar head reads these states (clipreward.md 5.1), ``projected`` turns them into features.

    Args:
        model: ``open_clip.CLIP`` or ``CustomTextCLIP``.
        tokens: int64 [N, L], zeros after each end token; L the context length, or less where ``can_trim`` is true.

    Returns:
        [N, d] in the model's precision, with a gradient where its parameters want one.
    """
    if can_trim(model):
        return _trimmed_states(model, tokens)
    if hasattr(model, "text"):
        states: Tensor = _without_projection(model.text)(tokens)
        return states
    states = _without_projection(model).encode_text(tokens)
    return states


def state_width(model: Any) -> int:
    """The width d of the states of ``text_states``."""
    import torch

    parameter = next(model.parameters())
    tokens = torch.zeros(1, int(model.context_length), dtype=torch.long, device=parameter.device)
    tokens[:, 0] = 1
    with torch.no_grad():
        return int(text_states(model, tokens).shape[1])


def projected(model: Any, states: Tensor) -> Tensor:
    """Text features [N, D] of states [N, d], not normalised."""
    import torch

    tower = getattr(model, "text", model)
    projection = getattr(tower, "text_projection", None)
    if projection is None:
        projection = getattr(tower, "proj", None)  # of a text tower of transformers
    if projection is None:
        return states
    features: Tensor = projection(states) if isinstance(projection, torch.nn.Module) else states @ projection
    return features


def prefix_states(model: Any, tokens: Tensor) -> Tensor:
    """The state at every token, which says of the text until there what ``text_states`` says of the whole.

    Args:
        model: one for which ``can_trim`` is true.
        tokens: int64 [N, L], L at most the context length, zeros after each end token.

    Returns:
        [N, L, d] in the model's precision.
    """
    states: Tensor = model.ln_final(_layers(model, tokens))
    return states


def _trimmed_states(model: Any, tokens: Tensor) -> Tensor:
    import torch

    x = _layers(model, tokens)
    ends = x[torch.arange(len(x), device=x.device), tokens.argmax(dim=-1)]
    states: Tensor = model.ln_final(ends)  # it works on each position alone: the end tokens' are enough
    return states


def _layers(model: Any, tokens: Tensor) -> Tensor:
    length = tokens.shape[1]
    dtype = model.transformer.get_cast_dtype()
    x = model.token_embedding(tokens).to(dtype) + model.positional_embedding[:length].to(dtype)
    found: Tensor = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    return found


def _without_projection(tower: Any) -> Any:
    """The same text tower, its parameters shared, without the projection."""
    from torch import nn

    bare = copy.copy(tower)
    bare._parameters, bare._modules = dict(tower._parameters), dict(tower._modules)
    if hasattr(bare, "text_projection"):
        _drop(bare, "text_projection", None)
    elif hasattr(bare, "proj"):
        _drop(bare, "proj", nn.Identity())
    return bare


def _drop(module: Any, name: str, instead: Any) -> None:
    module._parameters.pop(name, None)
    module._modules.pop(name, None)
    setattr(module, name, instead)
