"""Groups of objects, where they are, and which relations hold between them."""

from __future__ import annotations

from typing import NamedTuple

from capreward.data.scenes.vocabulary import CONVERSE

APART = 2  # pixels between groups at least; a redrawn picture moves each by one at most
CLOSE = 8  # pixels between neighbours at most

Box = tuple[int, int, int, int]  # left, top, right, bottom; the last two are outside


class Group(NamedTuple):
    """One to three equal objects side by side.

    Attributes:
        kind: what they are.
        colour: their colour.
        texture: ``plain`` or what is on it.
        size: ``small`` or ``large``.
        number: how many, 1 to 3.
        pixels: width and height of each.
        corners: the left upper corner of each, in pixels.
        flips: which of them are mirrored.
    """

    kind: str
    colour: str
    texture: str
    size: str
    number: int
    pixels: int
    corners: tuple[tuple[int, int], ...]
    flips: tuple[bool, ...]

    @property
    def box(self) -> Box:
        """The smallest rectangle around all of them."""
        left, top = min(x for x, _ in self.corners), min(y for _, y in self.corners)
        right, bottom = max(x for x, _ in self.corners), max(y for _, y in self.corners)
        return left, top, right + self.pixels, bottom + self.pixels

    def moved(self, dx: int, dy: int) -> Group:
        """The same group elsewhere."""
        return self._replace(corners=tuple((x + dx, y + dy) for x, y in self.corners))


class Relation(NamedTuple):
    """``name`` holds of group number ``a`` towards group number ``b``: a is left of b, in front of b, ..."""

    name: str
    a: int
    b: int

    @property
    def converse(self) -> Relation:
        """The same said from the other side."""
        return Relation(CONVERSE[self.name], self.b, self.a)


def apart(one: Box, other: Box) -> bool:
    """Whether two boxes have APART pixels between them, horizontally or vertically."""
    return (
        one[2] + APART <= other[0]
        or other[2] + APART <= one[0]
        or one[3] + APART <= other[1]
        or other[3] + APART <= one[1]
    )


def relations_between(a: Group, b: Group, a_is_later: bool) -> list[str]:
    """All relations that hold of ``a`` towards ``b``, by their boxes; groups that are not apart overlap.

    - left, right, above, below: the boxes are APART pixels or more apart in that direction;
    - near: side by side, at most CLOSE pixels between them and at the same height (half of the lower one at least);
    - front, behind: the boxes overlap; the one that is drawn later hides part of the other.
    """
    one, other = a.box, b.box
    if not apart(one, other):
        return ["front" if a_is_later else "behind"]
    found = []
    if one[2] + APART <= other[0]:
        found.append("left")
    if other[2] + APART <= one[0]:
        found.append("right")
    if one[3] + APART <= other[1]:
        found.append("above")
    if other[3] + APART <= one[1]:
        found.append("below")
    gap = max(other[0] - one[2], one[0] - other[2])
    level = min(one[3], other[3]) - max(one[1], other[1])
    if APART <= gap <= CLOSE and 2 * level >= min(one[3] - one[1], other[3] - other[1]):
        found.append("near")
    return found


def plainest(a: Group, b: Group, names: list[str]) -> str:
    """Of several relations of ``a`` towards ``b`` the one that strikes the eye: along the axis with the wider gap."""
    if len(names) == 1:
        return names[0]
    one, other = a.box, b.box
    wide = max(other[0] - one[2], one[0] - other[2])
    high = max(other[1] - one[3], one[1] - other[3])
    axis = ("left", "right") if wide >= high else ("above", "below")
    return next(name for name in names if name in axis)
