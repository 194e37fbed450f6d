"""The common part of captioners that have an encoder over the image and a decoder that attends to it."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, cast

from torch import Tensor, nn

from trainers.captioners.attention import CrossLayer, LiveTokens
from trainers.captioners.base import Captioner, Memory
from trainers.captioners.cache import Cache
from trainers.captioners.logprobs import token_logprobs
from trainers.captioners.vocabulary import Vocabulary, target_mask

if TYPE_CHECKING:
    from trainers.captioners.towers import Tower


class Sizes(Protocol):
    """The sizes of such a captioner, as a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def width(self) -> int:
        """The width d of encoder and decoder."""

    @property
    def longest(self) -> int:
        """The greatest number of tokens of a caption, the begin token included."""

    def check(self) -> None:
        """Refuse sizes that no model can have."""


class EncoderDecoder(Captioner):
    """A captioner of a frozen tower, an encoder over its tokens and a decoder over the words.

    Subclasses define the details of the encoder and the decoder.

    Args:
        tower: The image tower, which also tells the number of its tokens and their width.
        vocabulary: The vocabulary of the decoder.
        sizes: The sizes of this kind of captioner; None means its defaults.

    Raises:
        InputError: The sizes do not fit together.
    """

    sizes_type: ClassVar[type[Any]]
    decoder: nn.ModuleList
    final_norm: nn.Module

    def __init__(self, tower: Tower, vocabulary: Vocabulary, sizes: Sizes | None = None) -> None:
        super().__init__()
        self.sizes: Sizes = sizes or self.sizes_type()
        self.sizes.check()
        self.vocabulary = vocabulary
        self.longest, self.width = self.sizes.longest, self.sizes.width
        self.tower = tower
        self.preprocessing = tower.preprocessing

    @abstractmethod
    def embedded(self, tokens: Tensor, places: Tensor | int) -> Tensor:
        """Embed tokens [...] with their positions, given as places [...] or one place for all; return [..., d]."""

    @abstractmethod
    def output(self) -> tuple[Tensor, Tensor | None]:
        """Return the weight [V, d] and the bias [V] of the layer that computes logits."""

    @property
    def layers(self) -> list[CrossLayer]:
        """The layers of the decoder."""
        return cast("list[CrossLayer]", list(self.decoder))

    def look(self, images: Tensor) -> Tensor:
        """Return the tower's tokens [B, S, D] of crops uint8 [B, side, side, 3]; stored features pass through."""
        return self.tower.look(images)

    def frozen_parts(self) -> list[object]:
        """Return the CLIP of the tower."""
        return self.tower.frozen_parts()

    def logprobs(self, memory: Memory, tokens: Tensor, smoothing: float = 0.0) -> Tensor:
        """Compute the log-probability of every token after the first, float32 [N, L - 1]; see the base class."""
        live = LiveTokens(target_mask(self.vocabulary, tokens))
        states = self.embedded(live.pack(tokens[:, :-1]), live.places)
        for layer in self.layers:
            states = layer(states, layer.cross_attention.keys_values(memory.states), live)
        hidden, targets = self.final_norm(states), live.pack(tokens[:, 1:])
        weight, bias = self.output()
        return live.counted_values(token_logprobs(hidden, weight, targets, bias, smoothing=smoothing))

    def start(self, memory: Memory, longest: int) -> Cache:
        """Make a cache with one row per image."""
        cross = [layer.cross_attention.keys_values(memory.states) for layer in self.layers]
        return Cache(cross, len(memory), min(longest, self.longest), own=True)

    def step(self, cache: Cache, tokens: Tensor) -> Tensor:
        """Return the logits [N, V] after the newest tokens [N]."""
        states = self.embedded(tokens.view(cache.images, -1), cache.length)
        for number, layer in enumerate(self.layers):
            states = layer.step(states, cache, number)
        cache.length += 1
        return nn.functional.linear(self.final_norm(states).flatten(0, 1), *self.output())

    def configuration(self) -> dict[str, Any]:
        """Return the sizes and the configuration of the tower."""
        return {"sizes": asdict(self.sizes), "tower": self.tower.configuration()}

    @classmethod
    def rebuild(cls, configuration: dict[str, Any], vocabulary: Vocabulary, **options: Any) -> Self:
        """Build it from a configuration; ``options`` go to :func:`trainers.captioners.towers.tower_of`."""
        from trainers.captioners.folder import sizes_of
        from trainers.captioners.towers import tower_of

        sizes = sizes_of(cls.sizes_type(), configuration["sizes"])
        return cls(tower_of(configuration["tower"], **options), vocabulary, sizes)
