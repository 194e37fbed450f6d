"""The drawing of a content as a picture, with whole numbers only, so that every machine draws the same bits."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from capreward.data.scenes.backdrops import SIDE, VARIANTS, backdrop
from capreward.data.scenes.layout import APART, Group, apart
from capreward.data.scenes.sampling import Content, Lot
from capreward.data.scenes.sprites import FULL, sprite

Pixels = npt.NDArray[np.uint8]
SHIFT = 5  # a redrawn picture moves as a whole by at most this number of pixels


def draw(content: Content) -> Pixels:
    """Draw a content, uint8 [64, 64, 3]."""
    return _draw_groups(content, content.groups, content.variant)


def _draw_groups(content: Content, groups: tuple[Group, ...], variant: int) -> Pixels:
    picture = backdrop(content.place, content.light, variant).copy()
    for number in content.order:
        group = groups[number]
        n = group.pixels
        for (x, y), flip in zip(group.corners, group.flips, strict=True):
            paint, left = sprite(group.kind, group.colour, group.texture, n, flip, content.light)
            region = picture[y : y + n, x : x + n]
            blend = region * left
            blend += paint
            blend += FULL // 2
            blend //= FULL
            region[:] = blend
    return picture


def redraw(content: Content, lot: Lot) -> Pixels:
    """Draw the same content moved, mirrored, with another background of the place, and lighter or darker.

    The groups move together, and a group that overlaps no other may move by one pixel more, so that all relations
    stay true.

    Args:
        content: The content.
        lot: A function that returns random numbers, uniform in [0, 1).

    Returns:
        The picture, uint8 [64, 64, 3].
    """
    boxes = [g.box for g in content.groups]
    x = _random_shift(lot, min(b[0] for b in boxes), max(b[2] for b in boxes))
    y = _random_shift(lot, min(b[1] for b in boxes), max(b[3] for b in boxes))
    groups = []
    for i, group in enumerate(content.groups):
        free = all(apart(boxes[i], other) for j, other in enumerate(boxes) if j != i)
        jitter = (int(lot() * (APART + 1)) - 1, int(lot() * (APART + 1)) - 1) if free else (0, 0)
        dx = _limit_shift(x + jitter[0], boxes[i][0], boxes[i][2])
        dy = _limit_shift(y + jitter[1], boxes[i][1], boxes[i][3])
        flips = tuple(lot() < 0.5 for _ in group.flips)
        groups.append(group.moved(dx, dy)._replace(flips=flips))
    picture = _draw_groups(content, tuple(groups), int(lot() * VARIANTS))
    factor = 230 + int(lot() * 52)
    bright: Pixels = np.minimum(picture.astype(np.uint16) * factor >> 8, 255).astype(np.uint8)
    return bright


def _random_shift(lot: Lot, low: int, high: int) -> int:
    """Draw a shift that keeps what lies between ``low`` and ``high`` within the picture."""
    least, most = max(-SHIFT, -low), min(SHIFT, SIDE - high)
    return least + int(lot() * (most - least + 1))


def _limit_shift(move: int, low: int, high: int) -> int:
    """Limit a shift so that what lies between ``low`` and ``high`` stays within the picture."""
    return min(max(move, -low), SIDE - high)
