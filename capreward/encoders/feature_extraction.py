"""The encoding of pictures and texts into a feature store. A run that is killed loses only its last part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.encoders.store.header import StoreHeader, plain_fields
from capreward.encoders.store.writer import Shard, StoreWriter
from capreward.errors import InputError

if TYPE_CHECKING:
    from capreward.encoders.encoder import Encoder, Progress

PART = 8192  # features per part: 16 MB with CLIP ViT-B/32
PART_NUMBERS = 1 << 25  # the most numbers of a part of token features: 128 MB in float32, some of it held thrice


@dataclass
class AddedFeatures:
    """The counts of what one call added to a store.

    Attributes:
        path: The folder of the store.
        new: The number of features written.
        present: How many of the given keys the store already had.
        elsewhere: How many of the given keys other shards embed.
        broken: The key and the error sentence of each picture that was left out.
        cut: The number of texts that were cut at the context length.
    """

    path: Path
    new: int = 0
    present: int = 0
    elsewhere: int = 0
    broken: list[tuple[str, str]] = field(default_factory=list)
    cut: int = 0


def embed_images(
    encoder: Encoder,
    keys: Sequence[str],
    images: Sequence[Any],
    path: str | Path,
    *,
    shard: Shard = (0, 1),
    part_size: int | None = None,
    half: bool = False,
    workers: int | None = None,
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> AddedFeatures:
    """Write the features of pictures as the encoder gives them: projected and not normalised, or tokens.

    A second run goes on where the first stopped; more keys are added; with ``shard=(i, n)`` n processes share the work.

    Args:
        encoder: The encoder that makes the features.
        keys: The keys of the pictures, [M], all different.
        images: The pictures, [M], of the kinds that ``Samples.images`` may hold.
        path: The folder of the store; it is made if it does not exist.
        shard: The pair (i, n) for process i of n, counted from 0.
        part_size: The number of features per file, which is the most that a kill may lose; by default 8,192, or fewer
            if a feature is many tokens.
        half: Whether to store float16, at half the size, instead of float32.
        workers: The number of processes that decode images; by default as many as help.
        skip_broken: Whether to leave broken pictures out instead of refusing them; the next run tries them again.
        progress: A function that is called as (what, done, total); None reports nothing.

    Raises:
        InputError: The store holds other features, two keys are equal, pictures are broken, or the folder cannot be
            written.
    """
    writer = StoreWriter(path, header_of(encoder, "image", half=half), shard=shard)
    todo = writer.missing(keys)
    done = _counts_at_start(writer, keys, todo)
    size = max(1, min(PART, PART_NUMBERS // prod(encoder.shape))) if part_size is None else part_size
    for start, part in _split_into_parts(todo, size):
        shifted = _progress_of_part(progress, start, len(todo))
        found = encoder.image_features(
            [images[i] for i in part], workers=workers, skip_broken=skip_broken, progress=shifted
        )
        broken = dict(found.broken)
        good = [place for place in range(len(part)) if place not in broken]
        done.broken += [(keys[part[place]], sentence) for place, sentence in broken.items()]
        if good:
            writer.write([keys[part[place]] for place in good], found.values[good])
        done.new += len(good)
    return done


def embed_texts(
    encoder: Encoder,
    keys: Sequence[str],
    texts: Sequence[str],
    path: str | Path,
    *,
    prompt: str = "",
    shard: Shard = (0, 1),
    part_size: int = PART,
    half: bool = False,
    progress: Progress | None = None,
) -> AddedFeatures:
    """Write the features of texts as the encoder projects them, not normalised.

    The store keeps the texts, so that a key is never taken for the key of another text.

    Args:
        encoder: The encoder that makes the features.
        keys: The keys of the texts, [N], all different: ``42#0``, ``42#1`` for the captions of image 42.
        texts: The texts without the prompt, [N].
        path: The folder of the store; it is made if it does not exist.
        prompt: The text that is put before each text exactly as it is; the store records it.
        shard: The pair (i, n) for process i of n, counted from 0.
        part_size: The number of features per file, which is the most that a kill may lose.
        half: Whether to store float16, at half the size, instead of float32.
        progress: A function that is called as (what, done, total); None reports nothing.

    Raises:
        InputError: The store holds other features, two keys are equal, a key is stored for another text, or the folder
            cannot be written.
    """
    writer = StoreWriter(path, header_of(encoder, "text", half=half, prompt=prompt), shard=shard)
    todo = writer.missing(keys, texts)
    done = _counts_at_start(writer, keys, todo)
    for start, part in _split_into_parts(todo, part_size):
        chosen = [texts[i] for i in part]
        found = encoder.text_features(
            [prompt + text for text in chosen], progress=_progress_of_part(progress, start, len(todo))
        )
        writer.write([keys[i] for i in part], found.values, chosen)
        done.new += len(part)
        done.cut += int(found.cut.sum())
    return done


def header_of(encoder: Encoder, kind: str, *, half: bool = False, prompt: str = "") -> StoreHeader:
    """Return the header of a store for the features of an encoder."""
    dtype = "float16" if half else "float32"
    shape = encoder.shape if kind == "image" else (encoder.embed_dim,)
    if kind == "image":
        spec = encoder.spec.images or encoder.spec
        return StoreHeader(kind, plain_fields(encoder.image_fields()), shape, dtype, spec.sha256, prompt)
    return StoreHeader(kind, plain_fields(encoder.fields()), shape, dtype, encoder.spec.sha256, prompt)


def _counts_at_start(writer: StoreWriter, keys: Sequence[str], todo: Sequence[int]) -> AddedFeatures:
    present = sum(key in writer for key in keys)
    return AddedFeatures(writer.path, present=present, elsewhere=len(keys) - present - len(todo))


def _split_into_parts(todo: Sequence[int], size: int) -> Iterator[tuple[int, Sequence[int]]]:
    if size < 1:
        raise InputError(f"a part needs 1 feature or more; found part_size={size}")
    for start in range(0, len(todo), size):
        yield start, todo[start : start + size]


def _progress_of_part(progress: Progress | None, start: int, total: int) -> Progress | None:
    """Return a function that reports the progress of a part as progress of the whole."""
    if progress is None:
        return None
    return lambda what, done, _: progress(what, start + done, total)
