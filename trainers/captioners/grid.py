"""The ``grid`` captioner of DiCO: all tokens of a frozen CLIP tower, an encoder, and a decoder with cross-attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from capreward.errors import InputError
from trainers.captioners.base import Memory
from trainers.captioners.encoder_decoder import EncoderDecoder
from trainers.captioners.grid_layers import DecoderLayer, EncoderLayer, initialise
from trainers.captioners.vocabulary import Vocabulary

if TYPE_CHECKING:
    from trainers.captioners.towers import Tower


@dataclass(frozen=True)
class GridSizes:
    """The sizes of the grid captioner; the defaults are DiCO's.

    Attributes:
        width: The width d of encoder and decoder.
        heads: The number of heads of every attention.
        inner: The inner width of every feed-forward part.
        encoder_layers: The number of layers over the image's tokens.
        decoder_layers: The number of layers over the words.
        longest: The greatest number of tokens of a caption, the begin token included.
        dropout: The dropout probability of embeddings, attention weights and outputs.
    """

    width: int = 512
    heads: int = 8
    inner: int = 2048
    encoder_layers: int = 3
    decoder_layers: int = 3
    longest: int = 77
    dropout: float = 0.1

    def check(self) -> None:
        """Refuse sizes that no model can have.

        Raises:
            InputError: A size is wrong; the message names it.
        """
        if self.width < 1 or self.heads < 1 or self.width % self.heads:
            raise InputError(f"width {self.width} must be a multiple of heads {self.heads}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}; it must be at least 0 and below 1")
        if min(self.inner, self.decoder_layers) < 1 or self.encoder_layers < 0 or self.longest < 3:
            raise InputError("inner and decoder_layers must be at least 1, encoder_layers 0, longest 3")


class GridCaptioner(EncoderDecoder):
    """Frozen tower tokens -> linear -> encoder -> decoder with cross-attention -> head tied to the embedding.

    This is the architecture of DiCO (Moratelli et al., BMVC 2024) without the weights that its checkpoints carry but do
    not use: the word embeddings and the pooler of its encoder, and positions that no token reaches.

    Args:
        tower: The image tower, which also tells the number of its tokens and their width.
        vocabulary: The vocabulary of the decoder.
        sizes: The sizes; the defaults are DiCO's.

    Raises:
        InputError: The sizes do not fit together.
    """

    kind = "grid"
    sizes_type = GridSizes
    sizes: GridSizes

    def __init__(self, tower: Tower, vocabulary: Vocabulary, sizes: GridSizes | None = None) -> None:
        super().__init__(tower, vocabulary, sizes)
        sizes = self.sizes
        tokens, width = tower.shape
        d, layer = sizes.width, (sizes.width, sizes.heads, sizes.inner, sizes.dropout)
        self.bridge = nn.Linear(width, d) if width != d else nn.Identity()
        self.image_positions = nn.Parameter(torch.zeros(tokens, d))
        self.image_norm = nn.LayerNorm(d, eps=1e-12)
        self.encoder = nn.ModuleList(EncoderLayer(*layer) for _ in range(sizes.encoder_layers))
        self.words = nn.Embedding(vocabulary.size, d)
        self.positions = nn.Embedding(sizes.longest, d)
        self.decoder = nn.ModuleList(DecoderLayer(*layer) for _ in range(sizes.decoder_layers))
        self.final_norm = nn.LayerNorm(d)
        self.dropout = nn.Dropout(sizes.dropout)
        self._initialise()

    def _initialise(self) -> None:
        initialise(self.encoder, 0)
        initialise(self.decoder, 2 * self.sizes.decoder_layers)
        nn.init.normal_(self.image_positions, std=0.02)
        for table in (self.words, self.positions):
            nn.init.normal_(table.weight, std=0.02)

    def encode(self, inputs: Tensor) -> Memory:
        """Encode tower tokens [B, S, D] to the states that words attend to, [B, S, d]."""
        states = self.bridge(self.tower.learn(inputs)) + self.image_positions
        states = self.dropout(self.image_norm(states))
        for layer in self.encoder:
            states = layer(states)
        return Memory(states)

    def embedded(self, tokens: Tensor, places: Tensor | int) -> Tensor:
        """Return the sum of word and position embeddings."""
        placed = self.positions.weight[places] if isinstance(places, int) else self.positions(places)
        embedded: Tensor = self.dropout(self.words(tokens) + placed)
        return embedded

    def output(self) -> tuple[Tensor, None]:
        """Return the word embedding as the output weight, because the two are tied, and no bias."""
        return self.words.weight, None
