"""Attention over words and over the image, and the decoder layer that all captioners of this package share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from trainers.captioners.cache import Cache


class LiveTokens:
    """The positions of padded rows that are needed; linear layers and norms compute only these M positions.

    Args:
        counted: A bool tensor [N, T] that is True at positions whose outcome counts. The needed positions of a row are
            all positions up to its last counted one, because padding may stand between counted positions.
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
        """Pack [N, T, ...] to [M, ...]."""
        return padded.flatten(0, 1).index_select(0, self.index)

    def spread(self, packed: Tensor) -> Tensor:
        """Spread [M, d] to [N, T, d], with zeros at all other positions."""
        rows, length = self.shape
        padded = packed.new_zeros(rows * length, packed.shape[-1]).index_copy(0, self.index, packed)
        return padded.view(rows, length, -1)

    def counted_values(self, values: Tensor) -> Tensor:
        """Spread [M] to [N, T], with zeros at positions that do not count."""
        return self.spread(values.unsqueeze(-1)).squeeze(-1) * self.counted


class Attention(nn.Module):
    """Multi-head attention with biases.

    Args:
        width: The width d of the states.
        heads: The number of heads, each of width d / heads.
        dropout: The dropout probability of the attention weights.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def split(self, states: Tensor) -> Tensor:
        """Split the heads of [N, T, d] and return [N, heads, T, d / heads]."""
        return states.view(*states.shape[:2], self.heads, -1).transpose(1, 2)

    def keys_values(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and the values of [N, T, d], each [N, heads, T, d / heads]."""
        return self.split_key_value(self.key_value(states))

    def split_key_value(self, both: Tensor) -> tuple[Tensor, Tensor]:
        """Split ``both`` [N, T, 2 d], projected keys and values side by side, into two of [N, heads, T, d / heads]."""
        key, value = both.chunk(2, dim=-1)
        return self.split(key), self.split(value)

    def attend(self, states: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None) -> Tensor:
        """Let states [N, T, d] attend to all keys; see ``mix``."""
        attended: Tensor = self.out(self.mix(self.query(states), key, value, bias))
        return attended

    def over_words(self, states: Tensor, live: LiveTokens) -> Tensor:
        """Apply causal self-attention to the words of padded rows, [M, d] to [M, d]."""
        keys_values = self.split_key_value(live.spread(self.key_value(states)))
        attended: Tensor = self.out(live.pack(self.mix(live.spread(self.query(states)), *keys_values, causal=True)))
        return attended

    def over_image(self, states: Tensor, live: LiveTokens, cross: tuple[Tensor, Tensor]) -> Tensor:
        """Let the words of padded rows attend to the keys and values of their images, [M, d] to [M, d]."""
        attended: Tensor = self.out(live.pack(self.mix(live.spread(self.query(states)), *cross)))
        return attended

    def mix(
        self, queries: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None, *, causal: bool = False
    ) -> Tensor:
        """Return the mixture of values that each query attends to.

        Where there are B images for N = B * K rows, the K rows of an image share its keys.

        Args:
            queries: The projected queries [N, T, d].
            key: The keys [B, heads, S, d / heads].
            value: The values, in the shape of ``key``.
            bias: A tensor [N, 1, T, S] that is added to the logits, where there are as many images as rows.
            causal: Whether position t sees only the keys 0..t.

        Returns:
            The attended values [N, T, d], before the output projection.
        """
        rows, length, width = queries.shape
        query = self.split(queries)
        if len(key) != rows:  # [N, heads, T, w] to [B, heads, K * T, w]: an image's keys are read once for its K rows
            query = query.reshape(len(key), -1, *query.shape[1:]).transpose(1, 2).flatten(2, 3)
        dropout = self.dropout if self.training else 0.0
        attended = functional.scaled_dot_product_attention(query, key, value, bias, dropout, is_causal=causal)
        if len(key) != rows:
            attended = (
                attended.reshape(*attended.shape[:2], -1, length, attended.shape[-1]).transpose(1, 2).flatten(0, 1)
            )
        return attended.transpose(1, 2).reshape(rows, length, width)


class CrossLayer(nn.Module):
    """Self-attention, attention to the image and a feed-forward part; each follows a norm and is added to its input.

    Args:
        width: The width d of the states.
        heads: The number of heads of both attentions.
        dropout: The dropout probability of attention weights and outputs.
        norm: A function that makes a norm for a width.
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
        """Compute all positions that hold words at once, [M, d] to [M, d]; only the attention sees padding."""
        states = states + self.dropout(self.self_attention.over_words(self.self_norm(states), live))
        return self._add_feed_forward(
            states + self.dropout(self.cross_attention.over_image(self.cross_norm(states), live, cross))
        )

    def step(self, states: Tensor, cache: Cache, layer: int) -> Tensor:
        """Compute the newest position alone, of R rows of each image, [B, R, d] to [B, R, d]."""
        attention, normed = self.self_attention, self.self_norm(states)
        keys_values = cache.extend(layer, *attention.keys_values(normed))
        states = states + self.dropout(attention.attend(normed, *keys_values))
        attended = self.cross_attention.attend(self.cross_norm(states), *cache.cross[layer])
        return self._add_feed_forward(states + self.dropout(attended))

    @abstractmethod
    def feed_forward(self, states: Tensor) -> Tensor:
        """Apply the feed-forward part to normed states, [..., d] to [..., d]."""

    def _add_feed_forward(self, states: Tensor) -> Tensor:
        total: Tensor = states + self.dropout(self.feed_forward(self.feed_norm(states)))
        return total
