"""The steps from a PIL image to an encoder's input, in the order of the original implementations and to the bit."""

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
LARGEST = 1 << 24  # pixels (64 MB) of a resized picture; above this number, only the wanted square is resized


def prepare(picture: Picture, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Decode and crop a picture, or take the crop that it comes with.

    Returns:
        The crop, uint8 [S, S, 3].

    Raises:
        BrokenImage: If the picture cannot be decoded, or if PIL cannot convert its mode to RGB.
    """
    ready = picture.crop(preprocessing) if isinstance(picture, DecodedPicture) else None
    if ready is not None:
        return ready
    try:
        with warnings.catch_warnings():
            # PIL's warnings (alpha of a palette dropped, odd metadata) change nothing that is used here, and a line per
            # picture would hide all other output.
            warnings.simplefilter("ignore", UserWarning)
            return crop(decode(picture, preprocessing), preprocessing)
    except (InputError, MemoryError):
        raise
    except Exception as error:
        # PIL raised it, or the open() of a user's own Picture; in both cases the error concerns this picture alone.
        raise BrokenImage(f"{picture} cannot be decoded: {error_text(error)}") from error


def crop(image: Image.Image, preprocessing: Preprocessing) -> npt.NDArray[np.uint8]:
    """Resize an image, cut out its centre, and only then convert it to RGB.

    The result equals that of torchvision's transforms on PIL images, bit for bit. The order matters: PIL resizes
    palette and one-bit pictures by nearest neighbour, and CMYK and alpha in their own channels. The cropping
    ``transformers`` converts to RGB first. Both croppings resize the longer side to a whole number of pixels, which is
    rounded down. An odd margin leaves half a pixel, which torchvision rounds to the even offset and transformers drops,
    so that for about a quarter of all photographs the two crops are one pixel apart.

    A strip so long that its resized form would exceed 16 megapixels is resized around the centre alone, which changes
    about one value in 10,000 by one level.

    Args:
        image: The image in any mode.
        preprocessing: The preprocessing, of which size, interpolation, resize and cropping matter here.

    Returns:
        The crop, uint8 [S, S, 3].

    Raises:
        InputError: If the interpolation, the way to resize or the cropping is unknown.

    Source: the transform of openai/CLIP, as clipscore.py and pacscore use it; transformers' CLIPFeatureExtractor 4.20,
    which DiCO used, and transformers' CLIPImageProcessor in PIL since then.
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
        found = _centre_square(image, size, resample, floor=floor)
    else:
        raise InputError(f"resize is {preprocessing.resize!r}; it must be shortest or squash")
    return np.array(found.convert("RGB"))


def normalise(pixels: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Convert crops to an encoder's input, bit for bit as torchvision's ToTensor and Normalize do.

    Args:
        pixels: The crops, uint8 [N, S, S, 3], on any device.
        preprocessing: The preprocessing, of which mean and std matter here.

    Returns:
        The input, float32 [N, 3, S, S], contiguous, on the same device.
    """
    import torch

    def per_channel(values: tuple[float, ...]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=pixels.device).view(1, -1, 1, 1)

    values = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    # 255 is a tensor here, since on a GPU torch multiplies by the reciprocal of a number, which rounds in another way.
    return values.div_(per_channel((255.0,))).sub_(per_channel(preprocessing.mean)).div_(per_channel(preprocessing.std))


def _resample(preprocessing: Preprocessing) -> Image.Resampling:
    from PIL import Image

    filters = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    if preprocessing.interpolation not in filters:
        raise InputError(f"interpolation is {preprocessing.interpolation!r}; it must be bicubic or bilinear")
    return filters[preprocessing.interpolation]


def _centre_square(image: Image.Image, size: int, resample: Image.Resampling, *, floor: bool) -> Image.Image:
    """Return the centre square of the image after its shorter side was resized to ``size``."""
    width, height = image.size
    short, long = min(width, height), max(width, height)
    resized = int(size * long / short)
    start = (resized - size) // 2 if floor else round((resized - size) / 2.0)
    if resized * size > LARGEST and short < size:
        return _centre_of_strip(image, size, start, long / resized, resample)
    if width <= height:
        return image.resize((size, resized), resample).crop((0, start, size, start + size))
    return image.resize((resized, size), resample).crop((start, 0, start + size, size))


def _centre_of_strip(
    image: Image.Image, size: int, start: int, scale: float, resample: Image.Resampling
) -> Image.Image:
    """Return the centre square of a long strip without resizing the rest of the strip.

    The window is first cut to whole pixels, with a margin for the filter, since PIL keeps a box in single precision,
    which is too coarse far from the origin. ``scale`` (below 1) is the number of source pixels per resized pixel.
    """
    width, height = image.size
    margin = 4  # a bicubic filter that enlarges reads 2 pixels to each side
    low, high = start * scale, (start + size) * scale
    first, last = max(int(low) - margin, 0), min(int(high) + margin + 1, max(width, height))
    if width <= height:
        window = image.crop((0, first, width, last))
        return window.resize((size, size), resample, box=(0, low - first, width, high - first))
    window = image.crop((first, 0, last, height))
    return window.resize((size, size), resample, box=(low - first, 0, high - first, height))
