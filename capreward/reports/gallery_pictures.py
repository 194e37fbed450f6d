"""Thumbnails that lie inside a page, so that it needs no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capreward.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

LARGEST = 256  # the most pixels of a thumbnail's longer side
DRAWN = 96  # a picture up to this side is treated as a drawing: kept exactly and enlarged without smoothing
QUALITY = 82  # the quality of JPEG


@dataclass(frozen=True)
class Thumbnail:
    """A picture ready for an ``<img>``.

    Attributes:
        uri: A ``data:`` address that holds the whole picture.
        width: The width in CSS pixels.
        height: The height in CSS pixels.
        drawn: Whether the page enlarges it without smoothing.
    """

    uri: str
    width: int
    height: int
    drawn: bool = False


def thumbnail(image: Image.Image) -> Thumbnail:
    """Bring a picture to at most 256 pixels: photos as JPEG, small drawings as PNG at a whole multiple of their size.

    Pictures are turned upright and brought to 8 bits as for an encoder; transparent ones are put on white.

    Raises:
        InputError: The picture cannot be decoded.
    """
    from capreward.data.images.decoding import decode
    from capreward.data.images.pictures import PilPicture
    from capreward.encoders.spec import Preprocessing

    image = _on_white(decode(PilPicture(image), Preprocessing()))
    drawn = max(image.size) <= DRAWN
    buffer = io.BytesIO()
    if drawn:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.thumbnail((LARGEST, LARGEST), reducing_gap=2.0)
        image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    scale = max(LARGEST // max(image.size), 1) if drawn else 1
    kind = "png" if drawn else "jpeg"
    uri = f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Thumbnail(uri, image.width * scale, image.height * scale, drawn)


def thumbnails(keys: Iterable[str], picture_of: Callable[[str], Image.Image | None]) -> dict[str, Thumbnail | None]:
    """Return the thumbnail of each key; None if there is no picture or it cannot be opened."""
    return {key: _thumbnail_or_none(picture_of, key) for key in dict.fromkeys(keys)}


def _thumbnail_or_none(picture_of: Callable[[str], Image.Image | None], key: str) -> Thumbnail | None:
    try:
        image = picture_of(key)
        return None if image is None else thumbnail(image)
    except (InputError, OSError):
        return None


def _on_white(image: Image.Image) -> Image.Image:
    """Return an RGB copy on white; the caller's picture does not change."""
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        upper = image.convert("RGBA")
        image = Image.new("RGBA", upper.size, "white")
        image.alpha_composite(upper)
    return image.convert("RGB")
