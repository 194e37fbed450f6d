"""Attention over words and image, and the decoder layer that all captioners here share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from trainers.captioners.cache import Cache


class LiveTokens:
    """The positions of padded rows that are needed; linear layers and norms see these M alone.

    Args:
        counted: bool [N, T]: positions whose outcome counts. Needed are all up to a row's last such position: padding
            may stand between.
    """

    def __init__(self, counted: Tensor) -> None:
        self.shape = counted.shape
        self.counted = counted
        self.index = (counted.flip(-1).cumsum(-1).flip(-1) > 0).flatten().nonzero().squeeze(1)

    @property
    def places(self) -> Tensor:
        """The place of each needed position in its row, int64 [M]."""
        return self.index % self.shape[1]

    def pack(self, padded: Tensor) -> Tensor:
        """[N, T, ...] to [M, ...]."""
        return padded.flatten(0, 1).index_select(0, self.index)

    def spread(self, packed: Tensor) -> Tensor:
        """[M, d] to [N, T, d], zeros elsewhere."""
        rows, length = self.shape
        padded = packed.new_zeros(rows * length, packed.shape[-1]).index_copy(0, self.index, packed)
        return padded.view(rows, length, -1)

    def counted_values(self, values: Tensor) -> Tensor:
        """[M] to [N, T], zeros where nothing counts."""
        return self.spread(values.unsqueeze(-1)).squeeze(-1) * self.counted


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
        return self.halves(self.key_value(states))

    def halves(self, both: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values, each [N, heads, T, d / heads], of their projections side by side, [N, T, 2 d]."""
        key, value = both.chunk(2, dim=-1)
        return self.split(key), self.split(value)

    def attend(self, states: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        """Let [N, T, d] attend to all keys; see ``mix``."""
        attended: Tensor = self.out(self.mix(self.query(states), key, value, bias))
        return attended

    def over_words(self, states: Tensor, live: LiveTokens) -> Tensor:
        """Causal self-attention of the words of padded rows, [M, d] to [M, d]."""
        known = self.halves(live.spread(self.key_value(states)))
        attended: Tensor = self.out(live.pack(self.mix(live.spread(self.query(states)), *known, causal=True)))
        return attended

    def over_image(self, states: Tensor, live: LiveTokens, cross: tuple[Tensor, Tensor]) -> Tensor:
        """Attention of the words of padded rows to their images' keys and values, [M, d] to [M, d]."""
        attended: Tensor = self.out(live.pack(self.mix(live.spread(self.query(states)), *cross)))
        return attended

    def mix(
        self, queries: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None, *, causal: bool = False
    ) -> Tensor:
        """The values that queries attend to; where there are B images for N = B * K rows, K rows share an image's keys.

        Args:
            queries: [N, T, d], projected.
            key: [B, heads, S, d / heads].
            value: like ``key``.
            bias: added to the logits, [N, 1, T, S], where there are as many images as rows.
            causal: position t sees keys 0..t.

        Returns:
            [N, T, d], before the output projection.
        """
        rows, length, width = queries.shape
        query = self.split(queries)
        if len(key) != rows:  # [N, heads, T, w] to [B, heads, K * T, w]: an image's keys are read once for its K rows
            query = query.reshape(len(key), -1, *query.shape[1:]).transpose(1, 2).flatten(2, 3)
        dropout = self.dropout if self.training else 0.0
        found = functional.scaled_dot_product_attention(query, key, value, bias, dropout, is_causal=causal)
        if len(key) != rows:
            found = found.reshape(*found.shape[:2], -1, length, found.shape[-1]).transpose(1, 2).flatten(0, 1)
        return found.transpose(1, 2).reshape(rows, length, width)


class CrossLayer(nn.Module):
    """Norm and causal attention, norm and attention to the image, norm and feed-forward, each added to its input.

    Args:
        width: d.
        heads: of both attentions.
        dropout: of attention weights and outputs.
        norm: makes a norm of a width.
    """

    def __init__(self, width: int, heads: int, dropout: float, norm: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.self_norm = norm(width)
        self.self_attention = Attention(width, heads, dropout)
        self.cross_norm = norm(width)
        self.cross_attention = Attention(width, heads, dropout)
        self.feed_norm = norm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, cross: tuple[Tensor, Tensor], live: LiveTokens) -> Tensor:
        """All positions that hold words at once: [M, d] to [M, d]; padding is there for the attention alone."""
        states = states + self.dropout(self.self_attention.over_words(self.self_norm(states), live))
        return self._fed(states + self.dropout(self.cross_attention.over_image(self.cross_norm(states), live, cross)))

    def step(self, states: Tensor, cache: Cache, layer: int) -> Tensor:
        """The newest position alone, of R rows of each image: [B, R, d] to [B, R, d]."""
        attention, normed = self.self_attention, self.self_norm(states)
        known = cache.extend(layer, *attention.keys_values(normed))
        states = states + self.dropout(attention.attend(normed, *known))
        attended = self.cross_attention.attend(self.cross_norm(states), *cache.cross[layer])
        return self._fed(states + self.dropout(attended))

    @abstractmethod
    def feed_forward(self, states: Tensor) -> Tensor:
        """Of normed states, [..., d] to [..., d]."""

    def _fed(self, states: Tensor) -> Tensor:
        total: Tensor = states + self.dropout(self.feed_forward(self.feed_norm(states)))
        return total
