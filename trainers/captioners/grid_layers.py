"""The layers of the grid captioner: BERT's layer for images, GPT-2's layer with cross-attention for words."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from trainers.captioners.attention import Attention, CrossLayer


class EncoderLayer(nn.Module):
    """BERT's layer: attention and feed-forward, each followed by its LayerNorm.

    Args:
        width: The width d of the states.
        heads: The number of heads of the attention.
        inner: The inner width of the feed-forward part.
        dropout: The dropout probability of attention weights and outputs.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.attention_norm = nn.LayerNorm(width, eps=1e-12)
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)
        self.feed_norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor) -> Tensor:
        """Compute the layer, [B, S, d] to [B, S, d]."""
        attended = self.attention.attend(states, *self.attention.keys_values(states))
        states = self.attention_norm(states + self.dropout(attended))
        fed = self.narrow(functional.gelu(self.widen(states)))
        normed: Tensor = self.feed_norm(states + self.dropout(fed))
        return normed


class DecoderLayer(CrossLayer):
    """GPT-2's layer with cross-attention.

    Args:
        width: The width d of the states.
        heads: The number of heads of both attentions.
        inner: The inner width of the feed-forward part.
        dropout: The dropout probability of attention weights and outputs.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__(width, heads, dropout, nn.LayerNorm)
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)

    def feed_forward(self, states: Tensor) -> Tensor:
        """Apply a linear layer, GELU in its tanh approximation, and a linear layer."""
        fed: Tensor = self.narrow(functional.gelu(self.widen(states), approximate="tanh"))
        return fed


def initialise(module: nn.Module, residuals: int) -> None:
    """Apply GPT-2's initialisation.

    Weights are drawn from N(0, 0.02) and biases are 0. Projections into the residual stream are divided by the root of
    ``residuals``.

    Args:
        module: The module whose Linear and Embedding layers are set, in place.
        residuals: The number of additions to the residual stream that the projections share; 0 for none.
    """
    for name, part in module.named_modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            into = residuals > 0 and name.endswith((".out", ".narrow"))
            nn.init.normal_(part.weight, std=0.02 / residuals**0.5 if into else 0.02)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
