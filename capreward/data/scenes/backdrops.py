"""The backgrounds of the places in each light: a sky or a wall, a ground, and what is typical of the place."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

SIDE = 64  # pixels along an edge of a picture
VARIANTS = 6  # the number of backgrounds for each place and light
RGB = tuple[int, int, int]
Canvas = npt.NDArray[np.int32]
Field = npt.NDArray[np.bool_]

SKIES: dict[str, tuple[RGB, RGB]] = {  # the colours at the top and at the horizon
    "day": ((120, 180, 238), (204, 228, 246)),
    "sunset": ((150, 92, 140), (252, 176, 104)),
    "night": ((14, 18, 52), (40, 48, 96)),
    "fog": ((196, 202, 208), (208, 212, 216)),
}
GROUND_LIGHT: dict[str, tuple[RGB, RGB]] = {  # for each channel, a factor in 256ths and a number that is added
    "day": ((256, 256, 256), (0, 0, 0)),
    "sunset": ((240, 196, 176), (12, 0, 4)),
    "night": ((88, 96, 138), (0, 0, 12)),
    "fog": ((104, 104, 104), (118, 121, 125)),
}


@cache
def backdrop(place: str, light: str, variant: int) -> npt.NDArray[np.uint8]:
    """Return the background of a place, uint8 [SIDE, SIDE, 3], a read-only array.

    Args:
        place: The place: ``beach``, ``field``, ...
        light: The light: ``day``, ``sunset``, ``night`` or ``fog``.
        variant: The variant, 0 to VARIANTS - 1, which sets the height of the horizon, the clouds and other details.
    """
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    horizon = 26 + 3 * (variant % 3)
    ground = np.zeros((SIDE, SIDE, 3), dtype=np.int32)
    extent = PLACES[place](ground, x, y, horizon, variant)
    factor, more = GROUND_LIGHT[light]
    ground = (ground * np.array(factor, dtype=np.int32) >> 8) + np.array(more, dtype=np.int32)
    canvas = _sky(x, y, horizon, light, variant)
    canvas[extent] = ground[extent]
    if place == "room":
        _window(canvas, x, y, light, variant)
    if place == "snow":
        canvas[_specks(x, y, variant, 53)] += 60
    picture = np.clip(canvas, 0, 255).astype(np.uint8)
    picture.flags.writeable = False
    return picture


def _sky(x: Canvas, y: Canvas, horizon: int, light: str, variant: int) -> Canvas:
    top, low = (np.array(c, dtype=np.int32) for c in SKIES[light])
    step = np.minimum(y * 256 // horizon, 256)[..., None]
    canvas: Canvas = (top * (256 - step) + low * step) >> 8
    if light == "night":
        canvas[_specks(x, y, variant, 101) & (y < horizon - 2)] = (236, 236, 200)
    elif light != "fog":
        white = np.array((255, 250, 246), dtype=np.int32)
        for cx, cy in ((10 + 9 * variant, 6), (44 - 5 * variant, 12)):
            cloud = (_ellipse(x, y, cx, cy, 7, 2)) | _ellipse(x, y, cx + 2, cy - 2, 4, 2)
            canvas[cloud] = (canvas[cloud] + white) >> 1
    return canvas


def _ellipse(x: Canvas, y: Canvas, cx: int, cy: int, rx: int, ry: int) -> Field:
    dx, dy = (x - cx) * ry, (y - cy) * rx
    return np.asarray(dx * dx + dy * dy <= rx * rx * ry * ry)


def _specks(x: Canvas, y: Canvas, variant: int, rarity: int) -> Field:
    """Return a mask of scattered pixels, about one in ``rarity``."""
    mixed = (x * 7919 + y * 104729 + variant * 1299709) & 0xFFFFF
    mixed = (mixed ^ (mixed >> 7)) * 2654435 & 0xFFFFFFF
    return np.asarray((mixed ^ (mixed >> 11)) % rarity == 0)


def _hills(x: Canvas, height: int, swing: int, period: int, shift: int) -> Canvas:
    phase = (x + shift) % period
    wave = phase * (period - phase) * 4 * swing // (period * period)
    return np.asarray(height - wave)


def _beach(g: Canvas, x: Canvas, y: Canvas, horizon: int, variant: int) -> Field:
    g[:] = (238, 214, 160)
    g[_specks(x, y, variant, 19)] = (222, 194, 138)
    sea = y < horizon + 11 + (_hills(x, 0, 2, 16, variant * 3) % 3)
    g[sea & (y >= horizon + 9)] = (244, 250, 252)
    g[y < horizon + 10] = (58, 148, 196)
    g[(y < horizon + 9) & (y % 4 == horizon % 4) & ((x + y * 5 + variant * 7) % 16 < 7)] = (136, 200, 226)
    return np.asarray(y >= horizon)


def _field(g: Canvas, x: Canvas, y: Canvas, horizon: int, variant: int) -> Field:
    far, near = _hills(x, horizon + 2, 6, 46, variant * 11), _hills(x, horizon + 14, 5, 70, variant * 17)
    g[:] = (150, 196, 104)
    g[y >= near] = (122, 178, 82)
    grass = _specks(x, y, variant, 31) | _specks(x, y + 1, variant, 31)
    g[grass & (y > horizon + 6)] = (96, 150, 62)
    return np.asarray(y >= far)


def _street(g: Canvas, x: Canvas, y: Canvas, horizon: int, variant: int) -> Field:
    block = (x + variant * 5) // 12
    roof = horizon + 4 - 6 - (block * 7 + variant * 3) % 5 * 4
    shade = (178 - block * 37 % 40)[..., None]
    g[:] = shade - np.array((0, 6, 4), dtype=np.int32)
    windows = ((x + variant * 5) % 12 % 4 >= 2) & ((x + variant * 5) % 12 < 11) & ((y - roof) % 5 >= 3)
    g[windows] = (226, 218, 176)
    g[y >= horizon + 5] = (186, 182, 178)
    g[y >= horizon + 9] = (112, 112, 118)
    g[(y >= 51) & (y < 53) & ((x + variant * 4) % 14 < 8)] = (238, 236, 224)
    return np.asarray((y >= roof) & (((x + variant * 5) % 12 != 11) | (y >= horizon + 5)))


def _snow(g: Canvas, x: Canvas, y: Canvas, horizon: int, variant: int) -> Field:
    far, near = _hills(x, horizon + 2, 5, 40, variant * 13), _hills(x, horizon + 15, 6, 58, variant * 19)
    g[:] = (216, 226, 240)
    g[y >= near] = (238, 243, 250)
    g[(y == near) | (y == near + 1)] = (200, 213, 234)
    return np.asarray(y >= far)


def _room(g: Canvas, x: Canvas, y: Canvas, horizon: int, variant: int) -> Field:
    wall = ((226, 206, 178), (206, 214, 196), (222, 200, 196))[variant % 3]
    g[:] = wall
    g[x % 8 == variant % 8] = tuple(c - 12 for c in wall)
    floor = horizon + 14
    g[y >= floor] = (184, 136, 90)
    g[(y >= floor) & ((y - floor) % 7 == 0)] = (150, 106, 66)
    g[(y >= floor) & ((x + (y - floor) // 7 * 29) % 50 == 0)] = (150, 106, 66)
    g[(y >= floor - 3) & (y < floor)] = (246, 240, 228)
    return np.ones(x.shape, dtype=bool)


def _window(canvas: Canvas, x: Canvas, y: Canvas, light: str, variant: int) -> None:
    left = (6, 40)[variant % 2]
    pane = (x >= left) & (x < left + 18) & (y >= 5) & (y < 24)
    bars = (x == left) | (x == left + 17) | (y == 5) | (y == 23) | (x == left + 8) | (x == left + 9) | (y == 14)
    view = np.array(SKIES[light][0], dtype=np.int32) + np.array(SKIES[light][1], dtype=np.int32)
    canvas[pane] = view >> 1
    frame = np.array((250, 246, 238), dtype=np.int32) * np.array(GROUND_LIGHT[light][0], dtype=np.int32) >> 8
    canvas[pane & bars] = frame


def _lake(g: Canvas, x: Canvas, y: Canvas, horizon: int, variant: int) -> Field:
    shore = _hills(x, horizon + 1, 4, 24, variant * 7)
    g[:] = (72, 140, 178)
    ripple = ((y - horizon) % 5 == 0) & ((x + (y * 9 + variant * 5)) % 22 < 10)
    g[ripple] = (146, 198, 216)
    g[(y >= horizon + 5) & (y < horizon + 7)] = (104, 168, 196)
    g[y < horizon + 5] = (88, 134, 84)
    near = _hills(x, 66, 7, 90, variant * 23)
    g[y >= near] = (112, 156, 84)
    return np.asarray(y >= shore)


def _desert(g: Canvas, x: Canvas, y: Canvas, horizon: int, variant: int) -> Field:
    far, mid = _hills(x, horizon + 4, 8, 44, variant * 9), _hills(x, horizon + 17, 9, 62, 20 + variant * 15)
    g[:] = (222, 166, 98)
    g[(y < far + 4) & ((x + variant * 9) % 44 > 22)] = (196, 138, 78)
    g[y >= mid] = (236, 186, 118)
    g[(y >= mid) & (y < mid + 3) & ((x + 20 + variant * 15) % 62 > 31)] = (204, 148, 86)
    return np.asarray(y >= far)


def _mountains(g: Canvas, x: Canvas, y: Canvas, horizon: int, variant: int) -> Field:
    one, two = np.abs((x + variant * 7) % 44 - 22), np.abs((x + 24 + variant * 7) % 36 - 18)
    peak, second = one + horizon - 18, two + horizon - 8
    g[:] = (138, 142, 164)
    g[(y < peak + 5 + (x * 5 % 3)) & (y >= peak)] = (240, 244, 250)
    lower = (y >= second) & (y >= peak)
    g[lower] = (112, 118, 142)
    g[lower & (y < second + 3)] = (226, 232, 242)
    g[y >= horizon + 8] = (132, 166, 112)
    g[_specks(x, y, variant, 37) & (y > horizon + 9)] = (110, 146, 92)
    return np.asarray((y >= peak) | (y >= second))


PLACES = {
    "beach": _beach,
    "field": _field,
    "street": _street,
    "snow": _snow,
    "room": _room,
    "lake": _lake,
    "desert": _desert,
    "mountains": _mountains,
}
