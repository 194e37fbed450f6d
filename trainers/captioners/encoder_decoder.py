"""What captioners with an encoder over the image and a decoder that attends to it have in common."""

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
    """What the sizes of every such captioner say; a frozen dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def width(self) -> int:
        """d, of encoder and decoder."""

    @property
    def longest(self) -> int:
        """Tokens of a caption at most, the begin token included."""

    def check(self) -> None:
        """Refuse sizes that no model can have."""


class EncoderDecoder(Captioner):
    """Frozen tower tokens, an encoder over them, a decoder over the words; all but the details of each.

    Args:
        tower: the image side, which also says how many tokens of what width there are.
        vocabulary: of the decoder.
        sizes: of the kind; its defaults where None.

    Raises:
        InputError: sizes that do not fit together.
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
        """Words with their positions: tokens [...] at places [...], or all at one place, to [..., d]."""

    @abstractmethod
    def output(self) -> tuple[Tensor, Tensor | None]:
        """Weight [V, d] and bias [V] of the layer that gives logits."""

    @property
    def layers(self) -> list[CrossLayer]:
        """Of the decoder."""
        return cast("list[CrossLayer]", list(self.decoder))

    def look(self, images: Tensor) -> Tensor:
        """The tower's tokens [B, S, D] of crops uint8 [B, side, side, 3]; stored features pass through."""
        return self.tower.look(images)

    def frozen_parts(self) -> list[object]:
        """The tower's CLIP."""
        return self.tower.frozen_parts()

    def logprobs(self, memory: Memory, tokens: Tensor, smoothing: float = 0.0) -> Tensor:
        """Of every token after the first, float32 [N, L - 1]; see the base class."""
        live = LiveTokens(target_mask(self.vocabulary, tokens))
        states = self.embedded(live.pack(tokens[:, :-1]), live.places)
        for layer in self.layers:
            states = layer(states, layer.cross_attention.keys_values(memory.states), live)
        hidden, targets = self.final_norm(states), live.pack(tokens[:, 1:])
        weight, bias = self.output()
        return live.counted_values(token_logprobs(hidden, weight, targets, bias, smoothing=smoothing))

    def start(self, memory: Memory, longest: int) -> Cache:
        """A cache of one row per image."""
        cross = [layer.cross_attention.keys_values(memory.states) for layer in self.layers]
        return Cache(cross, len(memory), min(longest, self.longest), own=True)

    def step(self, cache: Cache, tokens: Tensor) -> Tensor:
        """Logits [N, V] after the newest tokens [N]."""
        states = self.embedded(tokens.view(cache.images, -1), cache.length)
        for number, layer in enumerate(self.layers):
            states = layer.step(states, cache, number)
        cache.length += 1
        return nn.functional.linear(self.final_norm(states).flatten(0, 1), *self.output())

    def configuration(self) -> dict[str, Any]:
        """Sizes and tower."""
        return {"sizes": asdict(self.sizes), "tower": self.tower.configuration()}

    @classmethod
    def rebuild(cls, configuration: dict[str, Any], vocabulary: Vocabulary, **options: Any) -> Self:
        """From what ``configuration`` gave; ``options`` go to :func:`trainers.captioners.towers.tower_of`."""
        from trainers.captioners.folder import sizes_of
        from trainers.captioners.towers import tower_of

        sizes = sizes_of(cls.sizes_type(), configuration["sizes"])
        return cls(tower_of(configuration["tower"], **options), vocabulary, sizes)
