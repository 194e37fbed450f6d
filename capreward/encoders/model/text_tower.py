"""The text tower without padding: causal attention never looks past the end of a caption."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def can_trim(model: Any) -> bool:
    """Return whether a model's text features do not depend on the padding of its captions.

    This holds if attention is causal and the feature is read at the end token, as in open_clip's ``CLIP`` class, which
    holds the weights of OpenAI, LAION and PAC-S.
    """
    from capreward.encoders.model.backend import import_open_clip

    return type(model) is import_open_clip().CLIP and model.text_pool_type == "argmax" and model.attn_mask is not None


def trimmed_text_features(model: Any, tokens: Tensor) -> Tensor:
    """Return the text features of tokens that end at the longest caption of the batch.

    A caption has about 15 tokens and the context 77, so this does a fifth of the work of ``model.encode_text``, with
    the same result.

    Args:
        model: A model for which ``can_trim`` is true.
        tokens: Token ids, int64 [N, L], with L at most the context length and zeros after each end token.

    Returns:
        The projected features [N, D] in the model's precision.
    """
    return projected(model, _trimmed_states(model, tokens))


def text_states(model: Any, tokens: Tensor) -> Tensor:
    """Return the states of whole texts after the text tower's final norm and before the projection.

    A grammar head reads these states (Cho et al. 2022, section 3.2); ``projected`` turns them into features.

    Args:
        model: An ``open_clip.CLIP`` or ``CustomTextCLIP``.
        tokens: Token ids, int64 [N, L], with zeros after each end token; L is the context length, or less if
            ``can_trim`` is true.

    Returns:
        The states [N, d] in the model's precision, with a gradient if the parameters require one.
    """
    if can_trim(model):
        return _trimmed_states(model, tokens)
    if hasattr(model, "text"):
        states: Tensor = _without_projection(model.text)(tokens)
        return states
    states = _without_projection(model).encode_text(tokens)
    return states


def state_width(model: Any) -> int:
    """Return the width d of the states of ``text_states``."""
    import torch

    parameter = next(model.parameters())
    tokens = torch.zeros(1, int(model.context_length), dtype=torch.long, device=parameter.device)
    tokens[:, 0] = 1
    with torch.no_grad():
        return int(text_states(model, tokens).shape[1])


def projected(model: Any, states: Tensor) -> Tensor:
    """Return the text features [N, D] of states [N, d], not normalised."""
    import torch

    tower = getattr(model, "text", model)
    projection = getattr(tower, "text_projection", None)
    if projection is None:
        projection = getattr(tower, "proj", None)  # the projection of a text tower of transformers
    if projection is None:
        return states
    features: Tensor = projection(states) if isinstance(projection, torch.nn.Module) else states @ projection
    return features


def prefix_states(model: Any, tokens: Tensor) -> Tensor:
    """Return the state at every token: it describes the text up to there as ``text_states`` describes the whole text.

    Args:
        model: A model for which ``can_trim`` is true.
        tokens: Token ids, int64 [N, L], with L at most the context length and zeros after each end token.

    Returns:
        The states [N, L, d] in the model's precision.
    """
    states: Tensor = model.ln_final(_layers(model, tokens))
    return states


def _trimmed_states(model: Any, tokens: Tensor) -> Tensor:
    import torch

    x = _layers(model, tokens)
    ends = x[torch.arange(len(x), device=x.device), tokens.argmax(dim=-1)]
    states: Tensor = model.ln_final(ends)  # the norm treats each position alone, so the end tokens are enough
    return states


def _layers(model: Any, tokens: Tensor) -> Tensor:
    length = tokens.shape[1]
    dtype = model.transformer.get_cast_dtype()
    x = model.token_embedding(tokens).to(dtype) + model.positional_embedding[:length].to(dtype)
    found: Tensor = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    return found


def _without_projection(tower: Any) -> Any:
    """Return the same text tower without the projection; its parameters are shared."""
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
