"""Layers of the grid captioner: BERT's for images, GPT-2's with cross-attention for words."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from trainers.captioners.attention import Attention, CrossLayer


class EncoderLayer(nn.Module):
    """BERT's layer: attention and feed-forward, each followed by its LayerNorm.

    Args:
        width: d.
        heads: of the attention.
        inner: of the feed-forward part.
        dropout: of attention weights and outputs.
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
        """[B, S, d] to [B, S, d]."""
        attended = self.attention.attend(states, *self.attention.keys_values(states))
        states = self.attention_norm(states + self.dropout(attended))
        fed = self.narrow(functional.gelu(self.widen(states)))
        normed: Tensor = self.feed_norm(states + self.dropout(fed))
        return normed


class DecoderLayer(CrossLayer):
    """GPT-2's layer with cross-attention.

    Args:
        width: d.
        heads: of both attentions.
        inner: of the feed-forward part.
        dropout: of attention weights and outputs.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__(width, heads, dropout, nn.LayerNorm)
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)

    def feed_forward(self, states: Tensor) -> Tensor:
        """Linear, GELU by tanh, linear."""
        fed: Tensor = self.narrow(functional.gelu(self.widen(states), approximate="tanh"))
        return fed


def initialise(module: nn.Module, residuals: int) -> None:
    """GPT-2's initialisation: N(0, 0.02), biases 0, projections into the residual stream divided by its root.

    Args:
        module: whose Linear and Embedding layers are set, in place.
        residuals: number of additions to the residual stream that the projections share; 0 for none.
    """
    for name, part in module.named_modules():
        if isinstance(part, (nn.Linear, nn.Embedding)):
            into = residuals > 0 and name.endswith((".out", ".narrow"))
            nn.init.normal_(part.weight, std=0.02 / residuals**0.5 if into else 0.02)
        if isinstance(part, nn.Linear) and part.bias is not None:
            nn.init.zeros_(part.bias)
