"""From a picture to the PIL image that the originals' steps start from."""

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
    """Decode a picture, of several frames or pages the first, in the mode its file has.

    ``original`` is what PIL gives and no more. ``careful`` turns the picture upright by its EXIF tag and brings modes
    of more than 8 bits, which PIL would clip at 255, to mode L:

    - 16 bits: value / 257, so that 65,535 becomes 255;
    - 32-bit whole numbers: the same if they lie in 0..65,535, else the range they span becomes 0..255;
    - floats: in [0, 1] times 255, in [0, 255] as they are, else the range they span becomes 0..255.

    Palettes, CMYK and alpha stay as they are in both: the originals convert to RGB after resizing, which drops alpha.

    Args:
        picture: where it is.
        preprocessing: its ``decode`` counts.

    Raises:
        BrokenImage: it cannot be decoded, has no pixels, or holds floats that are no numbers.
    """
    image = picture.open()
    if not image.width or not image.height:
        raise BrokenImage(f"{picture} has no pixels ({image.width} x {image.height})")
    if preprocessing.decode == "original":
        return image
    turn = _turn(image)
    image = _eight_bits(image, str(picture))  # first: PIL does not turn every mode of 16 bits
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What turns a picture upright, by its EXIF tag."""
    from PIL import Image

    try:
        orientation: Any = image.getexif().get(ORIENTATION)
    except MemoryError:
        raise
    except Exception:
        # A malformed EXIF block says nothing about the pixels, and PIL raises what its parser stumbles over.
        return None
    return Image.Transpose[TURNS[orientation]] if orientation in TURNS else None


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
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
        levels = np.rint(values * 255.0 if whole and high <= 1 else values) if whole else _stretched(values)
    elif low >= 0 and high <= 65_535:
        levels = (values.astype(np.uint32) + 128) // 257
    else:
        levels = _stretched(values)
    return Image.fromarray(levels.astype(np.uint8))


def _stretched(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    import numpy as np

    wide = values.astype(np.float64)
    wide -= wide.min()
    return np.rint(wide * (255.0 / (wide.max() or 1.0)))
