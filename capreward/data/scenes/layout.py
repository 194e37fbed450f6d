"""Groups of objects, their positions, and the relations that hold between them."""

from __future__ import annotations

from typing import NamedTuple

from capreward.data.scenes.vocabulary import CONVERSE

APART = 2  # the least distance between groups in pixels; redrawing may move each group by one pixel of its own
CLOSE = 8  # the largest distance between neighbours in pixels

Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom are the first pixels outside


class Group(NamedTuple):
    """A group of one to three equal objects side by side.

    Attributes:
        kind: The kind of the objects, such as ``ball``.
        colour: The colour of the objects.
        texture: The texture: ``plain``, ``striped``, ``dotted`` or ``checked``.
        size: The size: ``small`` or ``large``.
        number: The number of objects, 1 to 3.
        pixels: The width and height of each object in pixels.
        corners: The upper left corner (x, y) of each object in pixels.
        flips: For each object, whether it is mirrored.
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
        """The smallest rectangle around all objects of the group."""
        left, top = min(x for x, _ in self.corners), min(y for _, y in self.corners)
        right, bottom = max(x for x, _ in self.corners), max(y for _, y in self.corners)
        return left, top, right + self.pixels, bottom + self.pixels

    def moved(self, dx: int, dy: int) -> Group:
        """Return the same group, moved by ``dx`` pixels to the right and ``dy`` pixels down."""
        return self._replace(corners=tuple((x + dx, y + dy) for x, y in self.corners))


class Relation(NamedTuple):
    """A relation between two groups: a is left of b, in front of b, ...

    Attributes:
        name: The name of the relation, such as ``left``.
        a: The number of the group of which the relation holds.
        b: The number of the group towards which it holds.
    """

    name: str
    a: int
    b: int

    @property
    def converse(self) -> Relation:
        """The same fact as a relation of b towards a."""
        return Relation(CONVERSE[self.name], self.b, self.a)


def apart(one: Box, other: Box) -> bool:
    """Return whether two boxes have at least APART pixels between them, horizontally or vertically."""
    return (
        one[2] + APART <= other[0]
        or other[2] + APART <= one[0]
        or one[3] + APART <= other[1]
        or other[3] + APART <= one[1]
    )


def relations_between(a: Group, b: Group, a_is_later: bool) -> list[str]:
    """Return the names of all relations that hold of ``a`` towards ``b``, by their boxes.

    - left, right, above, below: the boxes are APART pixels or more apart in that direction;
    - near: the boxes are side by side, with at most CLOSE pixels between them, and share at least half of the height of
      the lower one;
    - front, behind: the boxes are not apart; the group that is drawn later hides a part of the other.

    Args:
        a: The group of which the relations hold.
        b: The group towards which they hold.
        a_is_later: True if ``a`` is drawn after ``b``.
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


def most_visible_relation(a: Group, b: Group, names: list[str]) -> str:
    """Return the most visible of several relations of ``a`` towards ``b``: that along the axis with the wider gap."""
    if len(names) == 1:
        return names[0]
    one, other = a.box, b.box
    wide = max(other[0] - one[2], one[0] - other[2])
    high = max(other[1] - one[3], one[1] - other[3])
    axis = ("left", "right") if wide >= high else ("above", "below")
    return next(name for name in names if name in axis)
