"""The originals' steps from a PIL image to an encoder's input, in their order and to the bit."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from capreward.data.images.cropped_picture import DecodedPicture
from capreward.data.images.decoding import decode
from capreward.data.images.encoded_image import BrokenImage, error_text
from capreward.data.images.pictures import Picture
from capreward.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from PIL import Image

    from capreward.encoders.spec import Preprocessing

CROPPINGS = ("torchvision", "transformers")
LARGEST = 1 << 24  # pixels of a resized picture that are made in full when but a square of them is wanted: 64 MB


def prepare(picture: Picture, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Decode and crop a picture, or take the crop it comes with: uint8 [S, S, 3].

    Raises:
        BrokenImage: it cannot be decoded, or PIL cannot bring its mode to RGB.
    """
    ready = picture.crop(preprocessing) if isinstance(picture, DecodedPicture) else None
    if ready is not None:
        return ready
    try:
        with warnings.catch_warnings():
            # What PIL warns of (alpha of a palette dropped, odd metadata) changes nothing that is used here, and a line
            # per picture would bury everything else.
            warnings.simplefilter("ignore", UserWarning)
            return crop(decode(picture, preprocessing), preprocessing)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        # PIL, or the open() of somebody's own Picture; whatever it is, it belongs to this picture alone.
        raise BrokenImage(f"{picture} cannot be decoded: {error_text(error)}") from error


def crop(image: Image.Image, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Resize, cut out the centre, and only then convert to RGB: bit for bit what torchvision's transforms do on PIL.

    The order matters: PIL resizes palette and one-bit pictures by nearest neighbour, and CMYK and alpha in their own
    channels. The cropping ``transformers`` converts to RGB first. Both resize the longer side to a whole number of
    pixels that is rounded down; an odd margin leaves half a pixel, which torchvision rounds to the even offset and
    transformers drops, so that about a quarter of all photographs are cut one pixel apart.

    A strip so long that its resized form would exceed 16 megapixels is resized around the centre alone, which moves
    about one value in 10,000 by one level.

    Args:
        image: in any mode.
        preprocessing: size, interpolation, resize and cropping count.

    Returns:
        Uint8 [S, S, 3].

    Raises:
        InputError: an interpolation, a way to resize or a cropping that is unknown.

    Source: the transform of openai/CLIP, as clipscore.py and pacscore use it; transformers' CLIPFeatureExtractor 4.20,
    which DiCO used, and its CLIPImageProcessor in PIL since.
    """
    import numpy as np

    size = preprocessing.size
    resample = _resample(preprocessing)
    if preprocessing.cropping not in CROPPINGS:
        raise InputError(f"cropping is {preprocessing.cropping!r}; it must be {' or '.join(CROPPINGS)}")
    floor = preprocessing.cropping == "transformers"
    if floor:
        image = image.convert("RGB")
    if preprocessing.resize == "squash":
        found = image.resize((size, size), resample)
    elif preprocessing.resize == "shortest":
        found = _centre(image, size, resample, floor=floor)
    else:
        raise InputError(f"resize is {preprocessing.resize!r}; it must be shortest or squash")
    return np.array(found.convert("RGB"))


def normalise(pixels: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Bring crops to an encoder's input: bit for bit torchvision's ToTensor and Normalize.

    Args:
        pixels: uint8 [N, S, S, 3], on any device.
        preprocessing: mean and std count.

    Returns:
        Float32 [N, 3, S, S], contiguous, on the same device.
    """
    import torch

    def known(values: tuple[float, ...]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=pixels.device).view(1, -1, 1, 1)

    values = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    # A tensor, not the number 255: on a GPU torch multiplies by the reciprocal of a number, which rounds otherwise.
    return values.div_(known((255.0,))).sub_(known(preprocessing.mean)).div_(known(preprocessing.std))


def _resample(preprocessing: Preprocessing) -> Image.Resampling:
    from PIL import Image

    known = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    if preprocessing.interpolation not in known:
        raise InputError(f"interpolation is {preprocessing.interpolation!r}; it must be bicubic or bilinear")
    return known[preprocessing.interpolation]


def _centre(image: Image.Image, size: int, resample: Image.Resampling, *, floor: bool) -> Image.Image:
    """The centre square of the image whose shorter side became ``size``."""
    width, height = image.size
    short, long = min(width, height), max(width, height)
    resized = int(size * long / short)
    start = (resized - size) // 2 if floor else round((resized - size) / 2.0)
    if resized * size > LARGEST and short < size:
        return _centre_alone(image, size, start, long / resized, resample)
    if width <= height:
        return image.resize((size, resized), resample).crop((0, start, size, start + size))
    return image.resize((resized, size), resample).crop((start, 0, start + size, size))


def _centre_alone(image: Image.Image, size: int, start: int, scale: float, resample: Image.Resampling) -> Image.Image:
    """The same square without the rest of the strip; ``scale`` (below 1) is source pixels per pixel made.

    The window is cut to whole pixels first, with a margin for the filter: PIL keeps a box in single precision, which
    is too coarse far from the origin.
    """
    width, height = image.size
    margin = 4  # a bicubic filter that enlarges sees 2 pixels to each side
    low, high = start * scale, (start + size) * scale
    first, last = max(int(low) - margin, 0), min(int(high) + margin + 1, max(width, height))
    if width <= height:
        window = image.crop((0, first, width, last))
        return window.resize((size, size), resample, box=(0, low - first, width, high - first))
    window = image.crop((first, 0, last, height))
    return window.resize((size, size), resample, box=(low - first, 0, high - first, height))
