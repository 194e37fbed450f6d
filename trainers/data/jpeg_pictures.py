"""Pictures as JPEG bytes for shards, under keys that every reader of shards understands."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from capreward.data.image_ids import IMAGE_ENDINGS
from capreward.data.images.cells import ArrowPicture, TextPicture
from capreward.data.images.decoding import decode
from capreward.data.images.encoded_image import BrokenImage, error_text, open_encoded
from capreward.data.images.pictures import BytesPicture, FilePicture, ShardPicture
from capreward.errors import InputError, ProgramError
from trainers.data.dataset import Dataset

JPEG = b"\xff\xd8\xff"
_UNSAFE = re.compile(r"[^\w+=@~,-]")  # a dot would end the key, a slash would make a folder


@dataclass(frozen=True)
class Encoding:
    """The encoding of pictures.

    Attributes:
        resize: The greatest length of the shorter side; None allows any.
        quality: The quality of JPEGs that are encoded again.
    """

    resize: int | None
    quality: int

    def encoded(self, picture: Any) -> bytes:
        """Return a picture as JPEG.

        A JPEG that is small enough keeps its very bytes. Others are turned upright, converted to RGB and resized
        (bicubic).

        Raises:
            BrokenImage: The picture cannot be decoded.
        """
        from PIL import Image

        from capreward.encoders.spec import Preprocessing

        data = _bytes_of(picture)
        if data is not None:
            whole = open_encoded(io.BytesIO(data), str(picture))
            if data.startswith(JPEG) and not self._too_large(whole):
                return data
        try:
            image = decode(picture, Preprocessing()).convert("RGB")
            if self.resize is not None and self._too_large(image):
                short = min(image.size)
                width, height = (round(side * self.resize / short) for side in image.size)
                image = image.resize((width, height), Image.Resampling.BICUBIC)
            stream = io.BytesIO()
            image.save(stream, "JPEG", quality=self.quality, subsampling=0)
        except (InputError, MemoryError):
            raise
        except Exception as error:  # PIL, or the open() of somebody's own picture
            raise BrokenImage(f"{picture} cannot be written as JPEG: {error_text(error)}") from error
        return stream.getvalue()

    def _too_large(self, image: Any) -> bool:
        return self.resize is not None and min(image.size) > self.resize


def _bytes_of(picture: Any) -> bytes | None:
    """Return the encoded picture as it is stored; None for a picture that is drawn or in an array."""
    if isinstance(picture, (TextPicture, ArrowPicture)):
        picture = picture.encoded()
    if isinstance(picture, BytesPicture):
        return picture.data
    try:
        if isinstance(picture, FilePicture):
            with open(picture.path, "rb") as stream:
                return stream.read()
        if isinstance(picture, ShardPicture):
            with open(picture.path, "rb") as stream:
                stream.seek(picture.offset)
                return stream.read(picture.size)
    except OSError as error:
        raise BrokenImage(f"{picture} cannot be read: {error.strerror or error}") from error
    return None


def read_encoded(
    dataset: Dataset, items: Sequence[int], encoding: Encoding, workers: int
) -> Iterator[tuple[bytes, str]]:
    """Yield the JPEG of each item and an empty text, or no bytes and a sentence that tells the reason, in order.

    Raises:
        ProgramError: A worker was killed.
    """
    tasks = _Tasks(dataset, encoding)
    if not workers:
        yield from (tasks[item] for item in items)
        return
    import torch
    from torch.utils.data import DataLoader

    loader: Iterable[Any] = DataLoader(
        tasks,  # type: ignore[arg-type]  # any object with __getitem__ will do
        batch_size=None,
        sampler=items,
        collate_fn=_identity,
        num_workers=workers,
        generator=torch.Generator(),
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "worker" not in str(error):
            raise
        raise ProgramError(
            "a process that reads pictures ended before its work, as when memory runs out; try --workers 1"
        ) from error


class _Tasks:
    def __init__(self, dataset: Dataset, encoding: Encoding) -> None:
        self.dataset = dataset
        self.encoding = encoding

    def __getitem__(self, item: int) -> tuple[bytes, str]:
        try:
            return self.encoding.encoded(self.dataset.picture(item)), ""
        except InputError as error:
            return b"", str(error)


def _identity(value: Any) -> Any:
    return value


def safe_keys(keys: Sequence[str], *, unique: bool) -> list[str]:
    """Return keys that a tar member may have.

    They have no picture ending; each dot, slash and blank becomes ``_``.

    Args:
        keys: The keys of the set.
        unique: Whether a key that is already taken gets ``__2``, ``__3``, ... at its end.
    """
    safe: list[str] = []
    taken: set[str] = set()
    counts: dict[str, int] = {}
    for key in keys:
        base = _UNSAFE.sub("_", IMAGE_ENDINGS.sub("", key.strip())) or "_"
        name = base
        while unique and name in taken:
            counts[base] = counts.get(base, 1) + 1
            name = f"{base}__{counts[base]}"
        taken.add(name)
        safe.append(name)
    return safe
