"""The ``clip-reward`` captioner of CLIP-Caption-Reward: a transformer over a grid of features, with whole words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from capreward.errors import InputError
from trainers.captioners.base import Memory
from trainers.captioners.encoder_decoder import EncoderDecoder
from trainers.captioners.transformer_layers import ImageLayer, StdNorm, WordLayer, sinusoids, xavier
from trainers.captioners.vocabulary import Vocabulary

if TYPE_CHECKING:
    from trainers.captioners.towers import Tower


@dataclass(frozen=True)
class TransformerSizes:
    """The sizes of the transformer; the defaults are CLIP-Caption-Reward's.

    Attributes:
        width: The width d of encoder and decoder.
        heads: The number of heads of every attention.
        inner: The inner width of every feed-forward part.
        encoder_layers: The number of layers over the image's tokens.
        decoder_layers: The number of layers over the words.
        longest: The greatest number of tokens of a caption, the begin token included; the original generates 20 after
            it.
        dropout: The dropout probability of embeddings, attention weights, inner values and outputs.
        image_dropout: The dropout probability of the embedded image tokens.
    """

    width: int = 512
    heads: int = 8
    inner: int = 2048
    encoder_layers: int = 6
    decoder_layers: int = 6
    longest: int = 21
    dropout: float = 0.1
    image_dropout: float = 0.5

    def check(self) -> None:
        """Refuse sizes that no model can have.

        Raises:
            InputError: A size is wrong; the message names it.
        """
        if self.width < 2 or self.width % 2 or self.heads < 1 or self.width % self.heads:
            raise InputError(f"width {self.width} must be even and a multiple of heads {self.heads}")
        if not (0 <= self.dropout < 1 and 0 <= self.image_dropout < 1):
            raise InputError(f"dropouts are {self.dropout}, {self.image_dropout}; they must be at least 0 and below 1")
        if min(self.inner, self.decoder_layers) < 1 or self.encoder_layers < 0 or self.longest < 3:
            raise InputError("inner and decoder_layers must be at least 1, encoder_layers 0, longest 3")


class TransformerCaptioner(EncoderDecoder):
    """Tower tokens -> linear, ReLU -> pre-norm encoder -> pre-norm decoder -> untied output with bias.

    This is the architecture of CLIP-Caption-Reward (Cho et al., NAACL Findings 2022). Image tokens have no positions.
    Words attend to all words before them. The original also masks padding; this changes no position that is scored,
    because padding only follows the end.

    Args:
        tower: The image tower, which also tells the number of its tokens and their width.
        vocabulary: The vocabulary of the decoder.
        sizes: The sizes; the defaults are CLIP-Caption-Reward's.

    Raises:
        InputError: The sizes do not fit together.
    """

    kind = "clip-reward"
    sizes_type = TransformerSizes
    sizes: TransformerSizes
    places: Tensor

    def __init__(self, tower: Tower, vocabulary: Vocabulary, sizes: TransformerSizes | None = None) -> None:
        super().__init__(tower, vocabulary, sizes)
        sizes = self.sizes
        d, layer = sizes.width, (sizes.width, sizes.heads, sizes.inner, sizes.dropout)
        self.bridge = nn.Linear(tower.shape[1], d)
        self.encoder = nn.ModuleList(ImageLayer(*layer) for _ in range(sizes.encoder_layers))
        self.encoder_norm = StdNorm(d)
        self.words = nn.Embedding(vocabulary.size, d)
        self.decoder = nn.ModuleList(WordLayer(*layer) for _ in range(sizes.decoder_layers))
        self.final_norm = StdNorm(d)
        self.head = nn.Linear(d, vocabulary.size)
        self.register_buffer("places", sinusoids(sizes.longest, d), persistent=False)
        self.dropout = nn.Dropout(sizes.dropout)
        self.image_dropout = nn.Dropout(sizes.image_dropout)
        for part in (self.encoder, self.words, self.decoder, self.head):
            xavier(part)

    def encode(self, inputs: Tensor) -> Memory:
        """Encode tower tokens [B, S, D] to the states that words attend to, [B, S, d]."""
        states = self.image_dropout(torch.relu(self.bridge(self.tower.learn(inputs))))
        for layer in self.encoder:
            states = layer(states)
        return Memory(self.encoder_norm(states))

    def embedded(self, tokens: Tensor, places: Tensor | int) -> Tensor:
        """Return the word embeddings times the root of d, plus sinusoids."""
        embedded: Tensor = self.dropout(self.words(tokens) * self.sizes.width**0.5 + self.places[places])
        return embedded

    def output(self) -> tuple[Tensor, Tensor]:
        """Return the weight and bias of an output layer of its own."""
        return self.head.weight, self.head.bias
