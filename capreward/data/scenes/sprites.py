"""Objects as pixels: the share of each pixel that each tone covers, and the tones for a colour and a light."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from capreward.data.scenes.layout import Group
from capreward.data.scenes.shapes import BASE, DARK, LIGHT, SHADE, SHAPES

FINE = 4  # subpixels along a pixel's edge
FULL = FINE * FINE  # the number of subpixels of a pixel
PATTERN, OUTLINE, TONES = 4, 5, 6  # further tones, after those of the shapes

RGB = tuple[int, int, int]

PAINT: dict[str, RGB] = {
    "red": (218, 34, 36),
    "orange": (255, 136, 16),
    "yellow": (255, 222, 45),
    "green": (36, 158, 66),
    "blue": (36, 92, 222),
    "purple": (136, 48, 178),
    "pink": (255, 138, 192),
    "white": (250, 250, 250),
    "black": (34, 34, 38),
}
PALE = frozenset({"yellow", "white", "pink", "orange"})  # colours whose pattern is dark

# The effect of the light on an object: for each channel, a factor in 256ths and a number that is added.
LIGHTING: dict[str, tuple[RGB, RGB]] = {
    "day": ((256, 256, 256), (0, 0, 0)),
    "sunset": ((256, 224, 204), (0, 0, 0)),
    "night": ((196, 200, 226), (0, 0, 8)),
    "fog": ((196, 196, 196), (50, 51, 53)),
}


def colour_in_light(colour: RGB, light: str) -> RGB:
    """Return the colour of an object in a light."""
    factor, more = LIGHTING[light]
    r, g, b = (min(255, (c * f >> 8) + m) for c, f, m in zip(colour, factor, more, strict=True))
    return (r, g, b)


def mix_colours(colour: RGB, other: RGB, share: int) -> RGB:
    """Mix a colour with another one, of which the mixture holds ``share`` 256ths."""
    r, g, b = ((c * (256 - share) + o * share) >> 8 for c, o in zip(colour, other, strict=True))
    return (r, g, b)


@lru_cache(maxsize=2048)
def palette(colour: str, light: str) -> npt.NDArray[np.int32]:
    """Return the colours of an object's tones, int32 [TONES, 3] in 0 to 255."""
    paint, black, white = PAINT[colour], (0, 0, 0), (255, 255, 255)
    tones: list[RGB] = [black] * TONES
    tones[BASE] = paint
    tones[SHADE] = mix_colours(paint, black, 90)
    tones[LIGHT] = mix_colours(paint, white, 170) if colour != "white" else (214, 222, 236)
    tones[DARK] = (80, 56, 46) if colour != "black" else (128, 96, 70)
    tones[PATTERN] = mix_colours(paint, (40, 24, 30), 160) if colour in PALE else mix_colours(paint, white, 190)
    tones[OUTLINE] = mix_colours(paint, (20, 16, 24), 170) if colour != "black" else (116, 116, 124)
    return np.array([colour_in_light(tone, light) for tone in tones], dtype=np.int32)


@lru_cache(maxsize=4096)
def coverage(kind: str, texture: str, pixels: int, flip: bool) -> npt.NDArray[np.int32]:
    """Count the subpixels of each pixel that show each tone, int32 [pixels * pixels, TONES] in 0 to FULL.

    Args:
        kind: The kind of the object.
        texture: The texture: ``plain``, ``striped``, ``dotted`` or ``checked``.
        pixels: The width and height of the object in pixels.
        flip: If True, left and right are exchanged.
    """
    n = pixels * FINE
    along = (2 * np.arange(n) + 1 - n) / n
    x, y = np.meshgrid(-along if flip else along, along)
    tone = np.full((n, n), -1)
    for name, mask in SHAPES[kind](x, y):
        tone[mask] = name
    tone[(tone == BASE) & pattern(texture, n)] = PATTERN
    tone[_rim(tone >= 0, 3 if pixels < 16 else 4)] = OUTLINE
    blocks = tone.reshape(pixels, FINE, pixels, FINE)
    counts = [(blocks == name).sum(axis=(1, 3)).reshape(-1) for name in range(TONES)]
    return np.stack(counts, axis=1).astype(np.int32)


def pattern(texture: str, n: int) -> npt.NDArray[np.bool_]:
    """Return the mask of a texture's second tone, on an n by n grid of subpixels."""
    y, x = np.mgrid[0:n, 0:n]
    pixel = FINE
    small = n < 16 * FINE
    if texture == "striped":
        return np.asarray((x + y) % (5 * pixel) < 2 * pixel)
    if texture == "dotted":
        step = (4 if small else 5) * pixel
        dx, dy = 2 * (x % step) + 1 - step, 2 * ((y + (x // step % 2) * (step // 2)) % step) + 1 - step
        reach = (2.3 if small else 3.0) * pixel
        return np.asarray(dx * dx + dy * dy <= reach * reach)
    if texture == "checked":
        step = 3 * pixel
        return np.asarray((x // step + y // step) % 2 == 1)
    return np.zeros((n, n), dtype=bool)


def _rim(inside: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    padded = np.pad(inside, width)
    n, core = len(inside), inside.copy()
    for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
        core &= padded[width + dy * width :, width + dx * width :][:n, :n]
    return inside & ~core


@lru_cache(maxsize=1024)
def _solid(kind: str, pixels: int, flip: bool) -> npt.NDArray[np.bool_]:
    return np.asarray(2 * coverage(kind, "plain", pixels, flip).sum(axis=1) > FULL).reshape(pixels, pixels)


def hidden_share(behind: Group, front: Group, dx: int, dy: int) -> float:
    """Return the share of a single object that another single object hides, in 0 to 1.

    Args:
        behind: The group of the object that is hidden.
        front: The group of the object that hides it.
        dx: The number of pixels by which the corner of ``front`` lies to the right of that of ``behind``.
        dy: The number of pixels by which it lies below.
    """
    back = _solid(behind.kind, behind.pixels, behind.flips[0])
    cover = _solid(front.kind, front.pixels, front.flips[0])
    n, m = behind.pixels, front.pixels
    left, top, right, bottom = max(0, dx), max(0, dy), min(n, dx + m), min(n, dy + m)
    hidden = back[top:bottom, left:right] & cover[top - dy : bottom - dy, left - dx : right - dx]
    return float(hidden.sum() / back.sum())


@lru_cache(maxsize=8192)
def sprite(
    kind: str, colour: str, texture: str, pixels: int, flip: bool, light: str
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint16]]:
    """Return an object in the form in which it is drawn over a picture.

    Returns:
        The colours times the coverage, uint16 [pixels, pixels, 3] in 0 to 255 * FULL, and the number of subpixels that
        show the background, uint16 [pixels, pixels, 1] in 0 to FULL.
    """
    cover = coverage(kind, texture, pixels, flip)
    paint = cover @ palette(colour, light)
    left = FULL - cover.sum(axis=1)
    shape = (pixels, pixels)
    return paint.astype(np.uint16).reshape(*shape, 3), left.astype(np.uint16).reshape(*shape, 1)
