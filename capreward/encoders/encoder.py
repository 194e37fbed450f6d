"""The encoder: it turns batches of pictures and texts into features, and encodes each distinct one once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from capreward.encoders.model.text_tower import can_trim, projected, text_states, trimmed_text_features
from capreward.encoders.model.token_rows import Tokens, tokenize
from capreward.errors import InputError, shorten

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from capreward.encoders.loading import Clip
    from capreward.encoders.spec import EncoderSpec

Progress = Callable[[str, float, float], None]

CPU_BATCH = 32  # larger batches leave the processor's caches
GPU_IMAGES, GPU_TEXTS = 256, 1024  # the sizes that are tried first; they are halved where memory is short


@dataclass(frozen=True)
class Pixels:
    """A picture that already is an encoder's input: float [3, S, S], normalised. It is compared by identity."""

    values: Tensor

    def __hash__(self) -> int:
        return id(self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pixels) and other.values is self.values


@dataclass(frozen=True)
class TextFeatures:
    """The features of N texts.

    Attributes:
        values: The projected features, [N, D], not normalised.
        cut: For each text whether it was cut at the context length, bool [N].
        states: The states of the same pass before the projection, [N, d]; None unless the weights have a grammar head,
            which reads them.
    """

    values: Tensor
    cut: np.ndarray[Any, np.dtype[np.bool_]]
    states: Tensor | None = None


@dataclass(frozen=True)
class ImageFeatures:
    """The features of M images.

    Attributes:
        values: The projected features, [M, *shape], not normalised; broken images have NaN rows.
        broken: The index and the error sentence of each broken image.
    """

    values: Tensor
    broken: tuple[tuple[int, str], ...] = ()


class Encoder:
    """A CLIP that encodes in batches; a plain object that holds modules.

    Args:
        clip: The loaded model.
        precision: The precision in which it was loaded: ``fp32`` (default), ``bf16`` or ``fp16``.
        batch_size: The number of images per batch; None finds it by trial.
    """

    def __init__(self, clip: Clip, *, precision: str = "fp32", batch_size: int | None = None) -> None:
        self.clip = clip
        self.precision = precision
        self.device: torch.device = next(clip.model.parameters()).device
        self.batch_size = batch_size
        self._images_at_once = batch_size or (GPU_IMAGES if self.device.type == "cuda" else CPU_BATCH)
        self._texts_at_once = batch_size or (GPU_TEXTS if self.device.type == "cuda" else 2 * CPU_BATCH)

    @property
    def spec(self) -> EncoderSpec:
        """The weights, the architecture and the preprocessing."""
        return self.clip.spec

    @property
    def embed_dim(self) -> int:
        """The width D of a feature."""
        return int(self.spec.model_cfg["embed_dim"])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one picture's feature."""
        return (self.embed_dim,)

    @property
    def context_length(self) -> int:
        """The most tokens of a text, with the start and the end token."""
        return int(self.clip.model.context_length)

    def fields(self) -> dict[str, object]:
        """Return the properties of the encoder that change a feature, for signatures and feature stores."""
        return {**self.spec.fields(), "prec": self.precision}

    def image_fields(self) -> dict[str, object]:
        """Return the properties that change a picture's feature; weights that share an image tower share them."""
        return {**self.spec.image_fields(), "prec": self.precision}

    def pixel_features(self, pixels: Tensor) -> Tensor:
        """Return features of normalised pixels [N, 3, S, S]: float32 [N, *shape], projected, not L2-normalised."""
        import torch

        self._check_pixels(pixels)
        encoded = []
        at = 0
        while at < len(pixels):
            size = self._images_at_once
            try:
                with torch.no_grad():
                    batch = pixels[at : at + size].to(self.device, dtype=self._dtype, non_blocking=True)
                    encoded.append(self._encode(batch).float())
            except torch.cuda.OutOfMemoryError:
                self._images_at_once = self._halved(size)
                continue
            at += size
        return torch.cat(encoded) if encoded else torch.zeros(0, *self.shape, device=self.device)

    def image_features(
        self,
        images: Sequence[Any],
        *,
        workers: int | None = None,
        skip_broken: bool = False,
        progress: Progress | None = None,
    ) -> ImageFeatures:
        """Return features of images; each distinct image is decoded and encoded once.

        Args:
            images: M images of the kinds that ``Samples.images`` may hold; None stands for a missing image.
            workers: The number of processes that decode images; by default as many as help.
            skip_broken: Whether broken images get NaN rows instead of being refused.
            progress: A function that is called as (what, done, total); None reports nothing.

        Raises:
            InputError: Images are broken; the message counts and names them.
        """
        import torch

        if images and all(isinstance(image, Pixels) for image in images):
            rows, distinct = _distinct(images)
            return ImageFeatures(self.pixel_features(torch.stack([p.values for p in distinct]))[rows])
        return self._decoded_features(images, workers, skip_broken, progress)

    def text_features(self, texts: Sequence[str], *, progress: Progress | None = None) -> TextFeatures:
        """Return features of texts, and states for weights with a grammar head; each distinct text is encoded once.

        Args:
            texts: N texts, with their prompt.
            progress: A function that is called as (what, done, total); None reports nothing.
        """
        import torch

        rows, distinct = _distinct(texts)
        tokens = tokenize(self.clip.tokenizer, distinct, self.context_length)
        values = torch.empty(len(distinct), self.embed_dim, device=self.device)
        head = self.clip.grammar_head
        states = None if head is None else torch.empty(len(distinct), head[0].in_features, device=self.device)
        done = 0
        for chosen, features, read in self._text_batches(tokens):
            at = self._index(chosen)
            values[at] = features
            if states is not None and read is not None:
                states[at] = read
            done += len(chosen)
            if progress is not None:
                progress("texts", done, len(distinct))
        index = self._index(rows)
        cut = tokens.cut[np.asarray(rows, dtype=np.int64)]
        return TextFeatures(values[index], cut, None if states is None else states[index])

    def grammar(self, states: Tensor) -> Tensor:
        """Return how probably texts are grammatical, by CLIP-Caption-Reward's head (Cho et al. 2022, section 3.2).

        Args:
            states: The states [N, d] of ``TextFeatures.states``.

        Returns:
            The probabilities, float32 [N], in the range [0, 1].

        Raises:
            InputError: The weights have no grammar head.
        """
        import torch

        if self.clip.grammar_head is None:
            raise InputError(f"{self.spec.name} has no grammar head")
        with torch.no_grad():
            probability: Tensor = self.clip.grammar_head(states).softmax(dim=-1)[:, 1]
        return probability

    @property
    def _dtype(self) -> torch.dtype:
        import torch

        return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[self.precision]

    def _encode(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.clip.model.encode_image(pixels)
        return features

    def _decoded_features(
        self, images: Sequence[Any], workers: int | None, skip_broken: bool, progress: Progress | None
    ) -> ImageFeatures:
        import torch

        from capreward.data.images.loader import Loader
        from capreward.data.images.pictures import as_picture
        from capreward.data.images.preprocessing import normalise

        there = [i for i, image in enumerate(images) if image is not None]
        pictures = [as_picture(images[i]) for i in there]
        rows, distinct = _distinct([p.key for p in pictures])
        first_of = dict(zip(reversed(rows), reversed(pictures), strict=True))
        firsts = [first_of[d] for d in range(len(distinct))]
        values = torch.full((len(firsts), *self.shape), torch.nan, device=self.device)
        loader = Loader(
            firsts,
            self.spec.preprocessing,
            batch_size=self._images_at_once,
            workers=self._workers() if workers is None else workers,
            skip_broken=skip_broken,
        )
        for indices, pixels in loader:
            ready = normalise(pixels.to(self.device), self.spec.preprocessing)
            values[self._index(indices)] = self.pixel_features(ready)
            if progress is not None:
                progress("images", max(indices) + 1, len(firsts))
        spread = torch.full((len(images), *self.shape), torch.nan, device=self.device)
        spread[self._index(there)] = values[self._index(rows)]
        sentences = dict(loader.broken)
        return ImageFeatures(spread, tuple((there[i], sentences[r]) for i, r in enumerate(rows) if r in sentences))

    def _index(self, rows: Sequence[int]) -> Tensor:
        import torch

        return torch.as_tensor(rows, dtype=torch.long, device=self.device)

    def _workers(self) -> int | None:
        """Return the number of decoding processes: None on a GPU, where the loader chooses; few on a CPU."""
        import torch

        return None if self.device.type == "cuda" else torch.get_num_threads() // 4

    def _text_batches(self, tokens: Tokens) -> Iterator[tuple[list[int], Tensor, Tensor | None]]:
        """Yield batches of texts of similar length, padded to the longest of the batch where the tower allows it."""
        import torch

        trims = can_trim(self.clip.model)
        order = np.argsort(tokens.lengths, kind="stable").tolist()
        at = 0
        while at < len(order):
            size = self._texts_at_once
            chosen = order[at : at + size]
            longest = int(tokens.lengths[chosen].max()) if trims else self.context_length
            table = torch.from_numpy(tokens.padded(chosen, longest)).to(self.device, non_blocking=True)
            try:
                with torch.no_grad():
                    features, states = self._encode_texts(table, trims)
            except torch.cuda.OutOfMemoryError:
                self._texts_at_once = self._halved(size)
                continue
            yield chosen, features, states
            at += size

    def _encode_texts(self, table: Tensor, trims: bool) -> tuple[Tensor, Tensor | None]:
        if self.clip.grammar_head is None:
            encode = trimmed_text_features if trims else _whole_text_features
            return encode(self.clip.model, table).float(), None
        states = text_states(self.clip.model, table)
        return projected(self.clip.model, states).float(), states.float()

    def _halved(self, size: int) -> int:
        if size == 1 or self.batch_size is not None:
            hint = "give a smaller batch_size" if size > 1 else "use precision=bf16 or device=cpu"
            raise InputError(f"a batch of {size} does not fit into the memory of {self.device}; {hint}")
        return size // 2

    def _check_pixels(self, pixels: Tensor) -> None:
        size = self.spec.preprocessing.size
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != (3, size, size) or not pixels.is_floating_point():
            found = f"{str(pixels.dtype).removeprefix('torch.')} {list(pixels.shape)}"
            raise InputError(f"{self.spec.name} takes normalised pixels, float [N, 3, {size}, {size}]; found {found}")


def _whole_text_features(model: Any, tokens: Tensor) -> Tensor:
    features: Tensor = model.encode_text(tokens)
    return features


def _distinct(values: Sequence[Any]) -> tuple[list[int], list[Any]]:
    """Return for each value the number of its first occurrence among the distinct values, and these values."""
    numbers: dict[Any, int] = {}
    return [numbers.setdefault(value, len(numbers)) for value in values], list(numbers)


def broken_note(broken: Sequence[tuple[int, str]]) -> str:
    """Return one line on the images that were skipped."""
    sentences = list(dict.fromkeys(sentence for _, sentence in broken))
    return f"{len(broken):,} broken image{'s' if len(broken) != 1 else ''} skipped: {shorten(sentences)}"
