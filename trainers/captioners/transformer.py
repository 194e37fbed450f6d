"""``clip-reward``, CLIP-Caption-Reward's captioner: a transformer over a grid of features that writes whole words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from capreward.errors import InputError
from trainers.captioners.base import Cache, Captioner, Memory
from trainers.captioners.blocks import Live
from trainers.captioners.transformer_blocks import ImageLayer, StdNorm, WordLayer, sinusoids, xavier
from trainers.captioners.vocabulary import Vocabulary, target_mask
from trainers.logprobs import token_logprobs

if TYPE_CHECKING:
    from trainers.captioners.tower import Tower


@dataclass(frozen=True)
class TransformerSizes:
    """Sizes of the transformer; CLIP-Caption-Reward's by default.

    Attributes:
        width: d, of encoder and decoder.
        heads: of every attention.
        inner: of every feed-forward part.
        encoder_layers: over the image's tokens.
        decoder_layers: over the words.
        longest: tokens of a caption at most, the begin token included; the original generates 20 after it.
        dropout: of embeddings, attention weights, inner values and outputs.
        image_dropout: of the embedded image tokens.
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
            InputError: which one.
        """
        if self.width < 2 or self.width % 2 or self.heads < 1 or self.width % self.heads:
            raise InputError(f"width {self.width} must be even and a multiple of heads {self.heads}")
        if not (0 <= self.dropout < 1 and 0 <= self.image_dropout < 1):
            raise InputError(f"dropouts are {self.dropout}, {self.image_dropout}; they must be at least 0 and below 1")
        if min(self.inner, self.decoder_layers) < 1 or self.encoder_layers < 0 or self.longest < 3:
            raise InputError("inner and decoder_layers must be at least 1, encoder_layers 0, longest 3")


class TransformerCaptioner(Captioner):
    """Tower tokens -> linear, ReLU -> pre-norm encoder -> pre-norm decoder -> untied output with bias.

    The architecture of CLIP-Caption-Reward (Cho et al., NAACL Findings 2022). Image tokens have no positions. Words
    attend to all before them: the original's further mask of padding changes no position that is scored, because
    padding only follows the end.

    Args:
        tower: the image side, which also says how many tokens of what width there are; see ``tower.py``.
        vocabulary: of the decoder.
        sizes: by default CLIP-Caption-Reward's.

    Raises:
        InputError: sizes that do not fit together.
    """

    kind = "clip-reward"
    places: Tensor

    def __init__(self, tower: Tower, vocabulary: Vocabulary, sizes: TransformerSizes | None = None) -> None:
        super().__init__()
        sizes = sizes or TransformerSizes()
        sizes.check()
        self.sizes = sizes
        self.vocabulary = vocabulary
        self.longest, self.width = sizes.longest, sizes.width
        self.tower = tower
        self.preprocessing = tower.preprocessing
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

    @property
    def layers(self) -> list[WordLayer]:
        """Of the decoder."""
        return cast("list[WordLayer]", list(self.decoder))

    def look(self, images: Tensor) -> Tensor:
        """The tower's tokens [B, S, D] of crops uint8 [B, side, side, 3]; stored features pass through."""
        return self.tower.look(images)

    def frozen_parts(self) -> list[object]:
        """The tower's CLIP."""
        return self.tower.frozen_parts()

    def encode(self, inputs: Tensor) -> Memory:
        """[B, S, D] tower tokens to the states that words attend to, [B, S, d]."""
        states = self.image_dropout(torch.relu(self.bridge(self.tower.learn(inputs))))
        for layer in self.encoder:
            states = layer(states)
        return Memory(self.encoder_norm(states))

    def logprobs(self, memory: Memory, tokens: Tensor, smoothing: float = 0.0) -> Tensor:
        """Of every token after the first, float32 [N, L - 1]; see the base class."""
        live = Live(target_mask(self.vocabulary, tokens))
        states = self._embedded(live.pack(tokens[:, :-1]), self.places[live.places])
        for layer in self.layers:
            states = layer(states, layer.cross_attention.keys_values(memory.states), live)
        hidden, targets = self.final_norm(states), live.pack(tokens[:, 1:])
        found = token_logprobs(hidden, self.head.weight, targets, self.head.bias, smoothing=smoothing)
        return live.counted_values(found)

    def start(self, memory: Memory, longest: int) -> Cache:
        """A cache of one row per image."""
        cross = [layer.cross_attention.keys_values(memory.states) for layer in self.layers]
        return Cache(cross, len(memory), min(longest, self.longest), own=True)

    def step(self, cache: Cache, tokens: Tensor) -> Tensor:
        """Logits [N, V] after the newest tokens [N]."""
        states = self._embedded(tokens.view(cache.images, -1), self.places[cache.length])
        for number, layer in enumerate(self.layers):
            states = layer.step(states, cache, number)
        cache.length += 1
        logits: Tensor = self.head(self.final_norm(states).flatten(0, 1))
        return logits

    def _embedded(self, tokens: Tensor, places: Tensor) -> Tensor:
        found: Tensor = self.dropout(self.words(tokens) * self.sizes.width**0.5 + places)
        return found

    def configuration(self) -> dict[str, Any]:
        """Sizes and tower."""
        return {"sizes": asdict(self.sizes), "tower": self.tower.configuration()}

    @classmethod
    def rebuild(cls, configuration: dict[str, Any], vocabulary: Vocabulary, **options: Any) -> TransformerCaptioner:
        """From what ``configuration`` gave; ``options`` go to :func:`trainers.captioners.tower.tower_of`."""
        from trainers.captioners.saving import sizes_of
        from trainers.captioners.tower import tower_of

        sizes = sizes_of(TransformerSizes(), configuration["sizes"])
        return cls(tower_of(configuration["tower"], **options), vocabulary, sizes)
