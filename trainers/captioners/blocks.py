"""Transformer layers of the grid captioner: post-norm for images, pre-norm with cross-attention for words."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from trainers.captioners.base import Cache


class Attention(nn.Module):
    """Multi-head attention with biases.

    Args:
        width: d.
        heads: of width d / heads.
        dropout: of the attention weights.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def split(self, states: Tensor) -> Tensor:
        """[N, T, d] to [N, heads, T, d / heads]."""
        return states.view(*states.shape[:2], self.heads, -1).transpose(1, 2)

    def keys_values(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of [N, T, d], each [N, heads, T, d / heads]."""
        key, value = self.key_value(states).chunk(2, dim=-1)
        return self.split(key), self.split(value)

    def attend(self, states: Tensor, key: Tensor, value: Tensor, *, causal: bool = False) -> Tensor:
        """Let [N, T, d] attend; where there are B images for N = B * K rows, K rows share an image's keys.

        Args:
            states: [N, T, d].
            key: [B, heads, S, d / heads].
            value: like ``key``.
            causal: position t sees keys 0..t.

        Returns:
            [N, T, d].
        """
        rows, length, width = states.shape
        query = self.split(self.query(states))
        if len(key) != rows:  # [N, heads, T, w] to [B, heads, K * T, w]: an image's keys are read once for its K rows
            query = query.reshape(len(key), -1, *query.shape[1:]).transpose(1, 2).flatten(2, 3)
        dropout = self.dropout if self.training else 0.0
        found = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=causal)
        if len(key) != rows:
            found = found.reshape(*found.shape[:2], -1, length, found.shape[-1]).transpose(1, 2).flatten(0, 1)
        together: Tensor = self.out(found.transpose(1, 2).reshape(rows, length, width))
        return together


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


class DecoderLayer(nn.Module):
    """GPT-2's layer with cross-attention: LayerNorm before each of self-attention, cross-attention, feed-forward.

    Args:
        width: d.
        heads: of both attentions.
        inner: of the feed-forward part.
        dropout: of attention weights and outputs.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads, dropout)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(width, heads, dropout)
        self.feed_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, cross: tuple[Tensor, Tensor]) -> Tensor:
        """All positions at once: [N, T, d] to [N, T, d]."""
        normed = self.self_norm(states)
        attention = self.self_attention
        states = states + self.dropout(attention.attend(normed, *attention.keys_values(normed), causal=True))
        return self._after(states, cross)

    def step(self, states: Tensor, cache: Cache, layer: int) -> Tensor:
        """The newest position alone: [N, 1, d] to [N, 1, d]."""
        normed = self.self_norm(states)
        attention = self.self_attention
        known = cache.append(layer, *attention.keys_values(normed))
        return self._after(states + self.dropout(attention.attend(normed, *known)), cache.cross[layer])

    def _after(self, states: Tensor, cross: tuple[Tensor, Tensor]) -> Tensor:
        states = states + self.dropout(self.cross_attention.attend(self.cross_norm(states), *cross))
        fed = self.narrow(functional.gelu(self.widen(self.feed_norm(states)), approximate="tanh"))
        total: Tensor = states + self.dropout(fed)
        return total


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
