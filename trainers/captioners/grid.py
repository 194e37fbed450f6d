"""``grid``, DiCO's captioner: every token of a frozen CLIP tower, a small encoder, a decoder with cross-attention."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from capreward.errors import InputError
from trainers.captioners.base import Cache, Captioner, Memory
from trainers.captioners.blocks import DecoderLayer, EncoderLayer, Live, initialise
from trainers.captioners.vocabulary import Vocabulary, target_mask
from trainers.logprobs import token_logprobs

if TYPE_CHECKING:
    from trainers.captioners.tower import Tower


@dataclass(frozen=True)
class GridSizes:
    """Sizes of the grid captioner; DiCO's by default.

    Attributes:
        width: d, of encoder and decoder.
        heads: of every attention.
        inner: of every feed-forward part.
        encoder_layers: over the image's tokens.
        decoder_layers: over the words.
        longest: tokens of a caption at most, the begin token included.
        dropout: of embeddings, attention weights and outputs.
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
            InputError: which one.
        """
        if self.width < 1 or self.heads < 1 or self.width % self.heads:
            raise InputError(f"width {self.width} must be a multiple of heads {self.heads}")
        if not 0 <= self.dropout < 1:
            raise InputError(f"dropout is {self.dropout}; it must be at least 0 and below 1")
        if min(self.inner, self.decoder_layers) < 1 or self.encoder_layers < 0 or self.longest < 3:
            raise InputError("inner and decoder_layers must be at least 1, encoder_layers 0, longest 3")


class GridCaptioner(Captioner):
    """Frozen tower tokens -> linear -> encoder -> decoder with cross-attention -> head tied to the embedding.

    The architecture of DiCO (Moratelli et al., BMVC 2024) without the weights that its checkpoints carry unused: word
    embeddings and pooler of its encoder, positions that no token reaches.

    Args:
        tower: the image side, which also says how many tokens of what width there are; see ``tower.py``.
        vocabulary: of the decoder.
        sizes: by default DiCO's.

    Raises:
        InputError: sizes that do not fit together.
    """

    kind = "grid"

    def __init__(self, tower: Tower, vocabulary: Vocabulary, sizes: GridSizes | None = None) -> None:
        super().__init__()
        sizes = sizes or GridSizes()
        sizes.check()
        self.sizes = sizes
        self.vocabulary = vocabulary
        self.longest, self.width = sizes.longest, sizes.width
        self.tower = tower
        self.preprocessing = tower.preprocessing
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

    @property
    def layers(self) -> list[DecoderLayer]:
        """Of the decoder."""
        return cast("list[DecoderLayer]", list(self.decoder))

    def look(self, images: Tensor) -> Tensor:
        """The tower's tokens [B, S, D] of crops uint8 [B, side, side, 3]; stored features pass through."""
        return self.tower.look(images)

    def frozen_parts(self) -> list[object]:
        """The tower's CLIP."""
        return self.tower.frozen_parts()

    def encode(self, inputs: Tensor) -> Memory:
        """[B, S, D] tower tokens to the states that words attend to, [B, S, d]."""
        states = self.bridge(self.tower.learn(inputs)) + self.image_positions
        states = self.dropout(self.image_norm(states))
        for layer in self.encoder:
            states = layer(states)
        return Memory(states)

    def logprobs(self, memory: Memory, tokens: Tensor, smoothing: float = 0.0) -> Tensor:
        """Of every token after the first, float32 [N, L - 1]; see the base class."""
        live = Live(target_mask(self.vocabulary, tokens))
        states = self.dropout(self.words(live.pack(tokens[:, :-1])) + self.positions(live.places))
        for layer in self.layers:
            states = layer(states, layer.cross_attention.keys_values(memory.states), live)
        hidden, targets = self.final_norm(states), live.pack(tokens[:, 1:])
        return live.counted_values(token_logprobs(hidden, self.words.weight, targets, smoothing=smoothing))

    def start(self, memory: Memory, longest: int) -> Cache:
        """A cache of one row per image."""
        cross = [layer.cross_attention.keys_values(memory.states) for layer in self.layers]
        return Cache(cross, len(memory), min(longest, self.longest), own=True)

    def step(self, cache: Cache, tokens: Tensor) -> Tensor:
        """Logits [N, V] after the newest tokens [N]."""
        states = self.dropout(self.words(tokens) + self.positions.weight[cache.length])
        states = states.view(cache.images, -1, states.shape[-1])
        for number, layer in enumerate(self.layers):
            states = layer.step(states, cache, number)
        cache.length += 1
        logits: Tensor = self.final_norm(states).flatten(0, 1) @ self.words.weight.T
        return logits

    def configuration(self) -> dict[str, Any]:
        """Sizes and tower."""
        return {"sizes": asdict(self.sizes), "tower": self.tower.configuration()}

    @classmethod
    def rebuild(cls, configuration: dict[str, Any], vocabulary: Vocabulary, **options: Any) -> GridCaptioner:
        """From what ``configuration`` gave; ``options`` go to :func:`trainers.captioners.tower.tower_of`."""
        from trainers.captioners.saving import sizes_of
        from trainers.captioners.tower import tower_of

        sizes = sizes_of(GridSizes(), configuration["sizes"])
        return cls(tower_of(configuration["tower"], **options), vocabulary, sizes)
