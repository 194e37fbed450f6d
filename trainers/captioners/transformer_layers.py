"""The layers of CLIP-Caption-Reward's transformer: both sides are pre-norm, with a layer norm of its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainers.captioners.attention import Attention, CrossLayer


class StdNorm(nn.Module):
    """The norm ``gain * (x - mean) / (std + eps) + bias``.

    The standard deviation is unbiased, and eps is added outside the root.

    Args:
        width: The width d of the states.
        eps: The number that is added to the standard deviation.
    """

    def __init__(self, width: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, states: Tensor) -> Tensor:
        """Normalise [..., d] to [..., d]."""
        spread, mean = torch.std_mean(states, dim=-1, keepdim=True)
        return self.weight * (states - mean) / (spread + self.eps) + self.bias


class FeedForward(nn.Module):
    """A linear layer, ReLU, dropout and a linear layer.

    Args:
        width: The width d of input and output.
        inner: The width between the two layers.
        dropout: The dropout probability of the inner values.
    """

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """Compute the layer, [N, T, d] to [N, T, d]."""
        outputs: Tensor = self.narrow(self.dropout(functional.relu(self.widen(states))))
        return outputs


class ImageLayer(nn.Module):
    """A pre-norm encoder layer: attention and feed-forward, each after a norm and added to its input.

    Args:
        width: The width d of the states.
        heads: The number of heads of the attention.
        inner: The inner width of the feed-forward part.
        dropout: The dropout probability of attention weights, inner values and outputs.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.self_norm = StdNorm(width)
        self.self_attention = Attention(width, heads, dropout)
        self.feed_norm = StdNorm(width)
        self.feed = FeedForward(width, inner, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """Compute the layer, [B, S, d] to [B, S, d]."""
        normed = self.self_norm(states)
        states = states + self.dropout(self.self_attention.attend(normed, *self.self_attention.keys_values(normed)))
        total: Tensor = states + self.dropout(self.feed(self.feed_norm(states)))
        return total


class WordLayer(CrossLayer):
    """A pre-norm decoder layer with :class:`StdNorm`.

    Args:
        width: The width d of the states.
        heads: The number of heads of both attentions.
        inner: The inner width of the feed-forward part.
        dropout: The dropout probability of attention weights, inner values and outputs.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__(width, heads, dropout, StdNorm)
        self.feed = FeedForward(width, inner, dropout)

    def feed_forward(self, states: Tensor) -> Tensor:
        """Apply :class:`FeedForward`."""
        fed: Tensor = self.feed(states)
        return fed


def sinusoids(length: int, width: int) -> Tensor:
    """Return positions [length, width] as sines (even columns) and cosines (odd columns) of base 10,000."""
    places = torch.arange(length, dtype=torch.float32).unsqueeze(1)
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float32) * -(math.log(10000.0) / width))
    table = torch.zeros(length, width)
    table[:, 0::2] = torch.sin(places * rates)
    table[:, 1::2] = torch.cos(places * rates)
    return table


def xavier(module: nn.Module) -> None:
    """Initialise every matrix by Xavier-uniform, keys and values each for themselves; biases are left as they are."""
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1:
            parts = 2 if name.endswith("key_value.weight") else 1
            for matrix in parameter.detach().chunk(parts):
                nn.init.xavier_uniform_(matrix)
