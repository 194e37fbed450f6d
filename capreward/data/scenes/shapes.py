"""The silhouettes of the kinds of objects, as masks over the square from -1 to 1 (x to the right, y down).

Only sums, products and comparisons of float64 are used, so that every machine computes the same masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Grid = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

BASE, SHADE, LIGHT, DARK = range(4)  # the colour with the texture, a darker and a lighter tone of it, and a dark detail
Layer = tuple[int, Mask]

STAR = (
    (0, -0.98), (0.26, -0.27), (1.0, -0.23), (0.42, 0.22), (0.62, 0.95),
    (0, 0.52), (-0.62, 0.95), (-0.42, 0.22), (-1.0, -0.23), (-0.26, -0.27),
)  # fmt: skip


def disc(x: Grid, y: Grid, cx: float, cy: float, rx: float, ry: float | None = None) -> Mask:
    """Return the mask of an ellipse with centre (cx, cy); it is a circle if ``ry`` is None."""
    ry = rx if ry is None else ry
    dx, dy = (x - cx) * ry, (y - cy) * rx
    return np.asarray(dx * dx + dy * dy <= (rx * ry) * (rx * ry))


def rect(x: Grid, y: Grid, left: float, top: float, right: float, bottom: float) -> Mask:
    """Return the mask of an upright rectangle."""
    return np.asarray((x >= left) & (x <= right) & (y >= top) & (y <= bottom))


def polygon(x: Grid, y: Grid, points: Sequence[tuple[float, float]]) -> Mask:
    """Return the mask of the inside of a polygon, by the even-odd rule."""
    inside = np.zeros(x.shape, dtype=bool)
    for (ax, ay), (bx, by) in zip(points, [*points[1:], points[0]], strict=True):
        crosses = (ay > y) != (by > y)
        beyond = (x - ax) * (by - ay) < (bx - ax) * (y - ay)
        inside ^= crosses & (beyond if by > ay else ~beyond)
    return inside


def ball(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a ball with a glint."""
    return [(BASE, disc(x, y, 0, 0, 1)), (LIGHT, disc(x, y, -0.38, -0.42, 0.2))]


def box(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a box seen from the side and a little from above."""
    lid = polygon(x, y, [(-1, -0.4), (-0.55, -0.95), (1, -0.95), (0.55, -0.4)])
    side = polygon(x, y, [(0.55, -0.4), (1, -0.95), (1, 0.45), (0.55, 1)])
    return [(BASE, rect(x, y, -1, -0.4, 0.55, 1)), (LIGHT, lid), (SHADE, side)]


def star(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a star of five points."""
    return [(BASE, polygon(x, y, STAR))]


def heart(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a heart."""
    lobes = disc(x, y, -0.48, -0.38, 0.52) | disc(x, y, 0.48, -0.38, 0.52)
    return [(BASE, lobes | polygon(x, y, [(-0.95, -0.16), (0, -0.5), (0.95, -0.16), (0, 0.98)]))]


def tree(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a fir tree of three tiers."""
    tiers = polygon(x, y, [(0, -1), (0.5, -0.35), (-0.5, -0.35)]) | polygon(
        x, y, [(0, -0.7), (0.7, 0.15), (-0.7, 0.15)]
    )
    tiers |= polygon(x, y, [(0, -0.3), (0.9, 0.62), (-0.9, 0.62)])
    return [(DARK, rect(x, y, -0.18, 0.6, 0.18, 1)), (BASE, tiers)]


def house(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a house with a roof, a door and a window."""
    roof = polygon(x, y, [(0, -1), (1, -0.12), (-1, -0.12)])
    chimney = rect(x, y, 0.45, -0.95, 0.7, -0.3)
    door, window = rect(x, y, -0.5, 0.35, -0.1, 1), rect(x, y, 0.18, 0.2, 0.55, 0.58)
    return [(SHADE, chimney), (BASE, rect(x, y, -0.8, -0.12, 0.8, 1)), (SHADE, roof), (DARK, door), (LIGHT, window)]


def boat(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a sailing boat."""
    hull = polygon(x, y, [(-1, 0.42), (1, 0.42), (0.62, 1), (-0.62, 1)])
    sails = polygon(x, y, [(0.08, -0.95), (0.9, 0.25), (0.08, 0.25)]) | polygon(
        x, y, [(-0.12, -0.6), (-0.12, 0.25), (-0.8, 0.25)]
    )
    return [(DARK, rect(x, y, -0.1, -1, 0.06, 0.45)), (BASE, sails), (SHADE, hull)]


def kite(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a kite with a tail."""
    cloth = polygon(x, y, [(0.15, -1), (0.85, -0.3), (0.15, 0.55), (-0.55, -0.3)])
    tail = polygon(x, y, [(0.12, 0.5), (0.2, 0.55), (-0.2, 0.85), (-0.95, 0.85), (-0.95, 0.75), (-0.25, 0.74)])
    bows = disc(x, y, -0.25, 0.8, 0.2, 0.2) | disc(x, y, -0.75, 0.8, 0.2, 0.2)
    return [(DARK, tail), (SHADE, bows), (BASE, cloth)]


def fish(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a fish that looks to the left."""
    tail = polygon(x, y, [(0.4, 0), (1, -0.62), (0.85, 0), (1, 0.62)])
    fin = polygon(x, y, [(-0.35, -0.45), (0.25, -0.85), (0.3, -0.35)])
    eye = disc(x, y, -0.62, -0.12, 0.15)
    return [(SHADE, fin), (SHADE, tail), (BASE, disc(x, y, -0.22, 0, 0.78, 0.58)), (LIGHT, eye)]


def cup(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a cup with a handle."""
    handle = disc(x, y, 0.5, 0.05, 0.5, 0.48) & ~disc(x, y, 0.5, 0.05, 0.25, 0.22)
    body = polygon(x, y, [(-0.95, -0.75), (0.55, -0.75), (0.4, 0.9), (-0.8, 0.9)])
    return [(SHADE, handle), (BASE, body), (DARK, disc(x, y, -0.2, -0.72, 0.75, 0.2))]


def flower(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a flower of five petals on a stem."""
    stem = rect(x, y, -0.1, 0, 0.1, 1) | disc(x, y, 0.4, 0.72, 0.35, 0.16)
    petals = disc(x, y, 0, -0.68, 0.32)
    for cx, cy in ((0.46, -0.38), (-0.46, -0.38), (0.28, 0.12), (-0.28, 0.12)):
        petals |= disc(x, y, cx, cy, 0.34)
    return [(DARK, stem), (BASE, petals | disc(x, y, 0, -0.25, 0.3)), (LIGHT, disc(x, y, 0, -0.25, 0.24))]


def tent(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a tent with an open flap."""
    cloth = polygon(x, y, [(0, -0.85), (1, 0.9), (-1, 0.9)])
    poles = polygon(x, y, [(-0.18, -1), (-0.04, -1), (0.1, -0.7), (-0.04, -0.7)])
    poles |= polygon(x, y, [(0.18, -1), (0.04, -1), (-0.1, -0.7), (0.04, -0.7)])
    return [(DARK, poles), (BASE, cloth), (DARK, polygon(x, y, [(0, -0.05), (0.34, 0.9), (-0.34, 0.9)]))]


def car(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a car that drives to the left."""
    cabin = polygon(x, y, [(-0.5, -0.2), (-0.25, -0.75), (0.45, -0.75), (0.75, -0.2)])
    window = polygon(x, y, [(-0.32, -0.2), (-0.15, -0.58), (0.36, -0.58), (0.55, -0.2)])
    body = rect(x, y, -1, -0.2, 1, 0.45)
    wheels = disc(x, y, -0.52, 0.45, 0.3) | disc(x, y, 0.52, 0.45, 0.3)
    return [(BASE, cabin | body), (LIGHT, window & ~rect(x, y, 0.05, -1, 0.17, 1)), (DARK, wheels)]


def moon(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a crescent."""
    return [(BASE, disc(x, y, 0.1, 0, 0.98) & ~disc(x, y, 0.62, -0.12, 0.8))]


def umbrella(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of an open umbrella."""
    dome = disc(x, y, 0, 0.1, 1, 1) & (y <= 0.1)
    for cx in (-0.67, 0.0, 0.67):
        dome &= ~disc(x, y, cx, 0.14, 0.32, 0.16)
    stick = rect(x, y, -0.08, -1, 0.08, 0.85)
    hook = disc(x, y, 0.2, 0.74, 0.28, 0.26) & ~disc(x, y, 0.2, 0.74, 0.12, 0.1) & (y >= 0.74)
    return [(DARK, stick | hook), (BASE, dome)]


def leaf(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a leaf with its midrib."""
    blade = disc(x, y, 0.55, 0.55, 1.44) & disc(x, y, -0.4, -0.4, 1.3)
    rib = (np.abs(x + y + 0.05) <= 0.09) & rect(x, y, -0.95, -0.55, 0.6, 0.95)
    return [(BASE, blade), (DARK, rib)]


def mushroom(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a mushroom."""
    stem = polygon(x, y, [(-0.26, 0), (0.26, 0), (0.38, 1), (-0.38, 1)])
    return [(LIGHT, stem), (BASE, disc(x, y, 0, 0.12, 1, 1.05) & (y <= 0.12))]


def butterfly(x: Grid, y: Grid) -> list[Layer]:
    """Return the layers of a butterfly."""
    wings = disc(x, y, -0.55, -0.38, 0.46, 0.5) | disc(x, y, 0.55, -0.38, 0.46, 0.5)
    lower = disc(x, y, -0.42, 0.45, 0.38, 0.44) | disc(x, y, 0.42, 0.45, 0.38, 0.44)
    feelers = polygon(x, y, [(0, -0.4), (0.3, -1), (0.42, -0.95)]) | polygon(
        x, y, [(0, -0.4), (-0.3, -1), (-0.42, -0.95)]
    )
    return [(DARK, feelers), (BASE, wings | lower), (DARK, disc(x, y, 0, 0.02, 0.13, 0.72))]


SHAPES: dict[str, Callable[[Grid, Grid], list[Layer]]] = {
    f.__name__: f
    for f in (
        ball, box, star, heart, tree, house, boat, kite, fish, cup, flower, tent, car, moon, umbrella, leaf, mushroom,
        butterfly,
    )
}  # fmt: skip
