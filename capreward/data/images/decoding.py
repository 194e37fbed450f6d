"""The decoding of a picture to the PIL image with which the original implementations start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capreward.data.images.encoded_image import BrokenImage
from capreward.data.images.pictures import Picture

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

    from capreward.encoders.spec import Preprocessing

ORIENTATION = 0x0112  # the EXIF tag
TURNS = {  # the transposition that turns a picture of that orientation upright, by PIL's name
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def decode(picture: Picture, preprocessing: Preprocessing) -> Image.Image:
    """Decode a picture in the mode of its file; of several frames or pages, the first is decoded.

    ``original`` returns the picture as PIL decodes it. ``careful`` turns the picture upright by its EXIF tag and
    converts modes of more than 8 bits, which PIL would clip at 255, to mode L:

    - 16 bits: the value is divided by 257, so that 65,535 becomes 255;
    - 32-bit whole numbers: they are treated as 16 bits if they lie in 0..65,535; otherwise their range is stretched to
      0..255;
    - floats: in [0, 1] they are multiplied by 255, in [0, 255] they stay as they are, otherwise their range is
      stretched to 0..255.

    Palettes, CMYK and alpha stay as they are in both: the originals convert to RGB after resizing, which drops alpha.

    Args:
        picture: The picture to decode.
        preprocessing: The preprocessing, of which only ``decode`` matters here.

    Returns:
        The PIL image.

    Raises:
        BrokenImage: If the picture cannot be decoded, has no pixels, or holds NaN or infinite floats.
    """
    image = picture.open()
    if not image.width or not image.height:
        raise BrokenImage(f"{picture} has no pixels ({image.width} x {image.height})")
    if preprocessing.decode == "original":
        return image
    turn = _upright_turn(image)
    image = _to_eight_bits(image, str(picture))  # before the turn, since PIL cannot turn every mode of 16 bits
    return image if turn is None else image.transpose(turn)


def _upright_turn(image: Image.Image) -> Image.Transpose | None:
    """Return the transposition that turns a picture upright, by its EXIF tag; None if it needs none."""
    from PIL import Image

    try:
        orientation: Any = image.getexif().get(ORIENTATION)
    except MemoryError:
        raise
    except Exception:
        # The pixels may be good although the EXIF block is malformed, for which PIL raises any kind of error.
        return None
    return Image.Transpose[TURNS[orientation]] if orientation in TURNS else None


def _to_eight_bits(image: Image.Image, name: str) -> Image.Image:
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        if not (np.isfinite(low) and np.isfinite(high)):
            raise BrokenImage(f"{name} holds floats that are NaN or infinite")
        whole = low >= 0 and high <= 255
        levels = np.rint(values * 255.0 if whole and high <= 1 else values) if whole else _stretch_range(values)
    elif low >= 0 and high <= 65_535:
        levels = (values.astype(np.uint32) + 128) // 257
    else:
        levels = _stretch_range(values)
    return Image.fromarray(levels.astype(np.uint8))


def _stretch_range(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    import numpy as np

    wide = values.astype(np.float64)
    wide -= wide.min()
    return np.rint(wide * (255.0 / (wide.max() or 1.0)))
