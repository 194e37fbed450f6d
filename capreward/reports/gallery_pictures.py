"""Pictures as thumbnails inside a page: no file beside it, nothing to load."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capreward.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

LARGEST = 256  # pixels of a thumbnail's longer side
DRAWN = 96  # up to this, a picture is taken for a drawing: kept exactly and enlarged without smoothing
QUALITY = 82  # of JPEG


@dataclass(frozen=True)
class Thumbnail:
    """A picture ready for an ``<img>``.

    Attributes:
        uri: ``data:`` with all of it.
        width: in CSS pixels.
        height: in CSS pixels.
        drawn: enlarge it without smoothing.
    """

    uri: str
    width: int
    height: int
    drawn: bool = False


def thumbnail(image: Image.Image) -> Thumbnail:
    """Bring a picture to at most 256 pixels: photos as JPEG, small drawings as PNG at a whole multiple of their size.

    Transparent pictures are put on white.

    Raises:
        InputError: the picture cannot be decoded.
    """
    from PIL import Image, ImageOps

    try:
        drawn = max(image.size) <= DRAWN
        if not drawn:
            image.draft("RGB", (2 * LARGEST, 2 * LARGEST))  # lets JPEG decode a large photo at a fraction of its size
        image = ImageOps.exif_transpose(image)
        if not drawn:
            image.thumbnail((LARGEST, LARGEST), reducing_gap=2.0)
        image = _on_white(image)
        buffer = io.BytesIO()
        if drawn:
            image.save(buffer, "PNG", optimize=True)
        else:
            image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"a picture cannot be decoded ({error})") from error
    scale = max(LARGEST // max(image.size), 1) if drawn else 1
    kind = "png" if drawn else "jpeg"
    uri = f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Thumbnail(uri, image.width * scale, image.height * scale, drawn)


def _on_white(image: Image.Image) -> Image.Image:
    from PIL import Image

    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        upper = image.convert("RGBA")
        image = Image.new("RGBA", upper.size, "white")
        image.alpha_composite(upper)
    return image.convert("RGB")
