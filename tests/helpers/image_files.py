"""Pictures written for the tests: every mode and format that people have, and the steps of the original scripts."""

from __future__ import annotations

import io
import tarfile

import numpy as np
from PIL import Image

TURNED = {  # what a camera held so stores of the upright picture: the inverse of each EXIF orientation
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
MODES = ("1", "L", "P", "PA", "LA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "I;16", "I", "F")


def noise(width, height, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def smooth(width, height):
    """A picture without fine detail: red rises to the right, green downwards, blue is a bump."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    channels = np.stack([x, y, np.exp(-8 * ((x - 0.3) ** 2 + (y - 0.7) ** 2))], axis=-1)
    return Image.fromarray(np.rint(channels * 255).astype(np.uint8))


def in_mode(mode, width=70, height=50):
    rng = np.random.default_rng(5)
    wide = {"I;16": (np.uint16, 65536), "I": (np.int32, 65536), "F": (np.float32, 256)}
    if mode in wide:
        kind, end = wide[mode]
        return Image.fromarray(rng.integers(0, end, (height, width)).astype(kind))
    image = Image.fromarray(noise(width, height, 4), "RGBA")
    return image if mode == "RGBA" else image.convert("RGB").convert(mode) if mode != "LA" else image.convert("LA")


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def with_orientation(image, orientation, kind="JPEG", **options):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, kind, exif=exif, **options)


def write_tar(path, members, **options):
    with tarfile.open(path, "w", encoding="utf-8", **options) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path
