"""The random choice of a picture's content, which follows from its split, index and seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from capreward.data.scenes.backdrops import SIDE, VARIANTS
from capreward.data.scenes.layout import Box, Group, Relation, apart, most_visible_relation, relations_between
from capreward.data.scenes.splits import COLOURS_OF, CONTENT, random_stream
from capreward.data.scenes.sprites import hidden_share
from capreward.data.scenes.vocabulary import KIND_NAMES, LIGHT_NAMES, PLACE_NAMES, TEXTURE_NAMES

T = TypeVar("T")
Lot = Callable[[], float]  # a function that returns random numbers, uniform in [0, 1)

SMALL, LARGE = (12, 14), (22, 25)  # the widths of small and of large objects, in pixels
AIRBORNE = frozenset({"star", "moon", "kite", "butterfly", "heart"})
HIDDEN = (0.08, 0.4)  # the least and the largest share of an object that an object in front of it hides
TRIES = 24  # the places that are tried for a group before it is left out of the picture


class Content(NamedTuple):
    """The content of a picture.

    Attributes:
        groups: The groups of objects, the main group first.
        relations: The relations that a full caption states: for each group after the first, one to an earlier group.
        place: The place, such as ``beach``.
        light: The light: ``day``, ``sunset``, ``night`` or ``fog``.
        variant: The number of the place's background, 0 to VARIANTS - 1.
        order: The numbers of the groups in the order in which they are drawn, from the back to the front.
    """

    groups: tuple[Group, ...]
    relations: tuple[Relation, ...]
    place: str
    light: str
    variant: int
    order: tuple[int, ...]

    def holding(self, a: int, b: int) -> list[str]:
        """Return the names of all relations that hold of group ``a`` towards group ``b``."""
        return relations_between(self.groups[a], self.groups[b], self.order.index(a) > self.order.index(b))


def draw_one(lot: Lot, options: Sequence[T]) -> T:
    """Draw one of the options, each with the same probability."""
    return options[int(lot() * len(options))]


def sample(split: str, index: int, seed: int = 0) -> Content:
    """Draw the content of a picture.

    Args:
        split: The split: ``train``, ``val`` or ``test``.
        index: The index of the picture in the split.
        seed: The seed of the world.

    Raises:
        InputError: If the split is unknown, or if a number is out of range.
    """
    lot = random_stream(split, index, seed, CONTENT).random
    place = draw_one(lot, PLACE_NAMES)
    light = draw_one(lot, ("day", "sunset", "night") if place == "room" else LIGHT_NAMES)
    variant = int(lot() * VARIANTS)
    u = lot()
    wanted = 1 if u < 0.18 else 2 if u < 0.58 else 3 if u < 0.88 else 4
    while True:
        drafts = _draft_groups(lot, split, wanted)
        groups = _place_groups(lot, drafts)
        if split == "train" or any(g.colour in COLOURS_OF[split, g.kind] for g in groups):
            break
    overlap = len(groups) > 1 and not apart(groups[0].box, groups[1].box)
    relations = tuple(_main_relation(lot, groups, i, overlap) for i in range(1, len(groups)))
    return Content(groups, relations, place, light, variant, tuple(range(len(groups))))


def _draft_groups(lot: Lot, split: str, wanted: int) -> list[Group]:
    """Draw groups without a position, the largest first; one of them has a combination reserved for the split."""
    own = int(lot() * wanted)
    kinds: list[str] = []
    drafts = []
    while len(kinds) < wanted:
        kind = draw_one(lot, KIND_NAMES)
        if kind in kinds:
            continue
        free = COLOURS_OF["train", kind]
        if split == "train":
            colour = draw_one(lot, free)
        elif len(kinds) == own:
            colour = draw_one(lot, COLOURS_OF[split, kind])
        else:
            colour = draw_one(lot, free + COLOURS_OF[split, kind])
        kinds.append(kind)
        texture = "plain" if lot() < 0.4 else draw_one(lot, TEXTURE_NAMES[1:])
        u = lot()
        count = 1 if u < 0.66 else 2 if u < 0.87 else 3
        large = lot() < 0.55 and not (wanted > 2 and count > 1 and (wanted == 4 or count == 3))
        size, pixels = ("large", draw_one(lot, LARGE)) if large else ("small", draw_one(lot, SMALL))
        corners = _arrange_corners(lot, count, pixels)
        flips = tuple(lot() < 0.5 for _ in range(count))
        drafts.append(Group(kind, colour, texture, size, count, pixels, corners, flips))
    return sorted(drafts, key=lambda g: -g.number * g.pixels * g.pixels)


def _arrange_corners(lot: Lot, count: int, pixels: int) -> tuple[tuple[int, int], ...]:
    """Return the corners of a group at the origin: its objects form a row, or three of them a triangle."""
    step = pixels + 1
    if count == 3 and (pixels > SMALL[1] or lot() < 0.5):
        return ((step // 2, 0), (0, pixels), (step, pixels))
    return tuple((i * step, 0) for i in range(count))


def _place_groups(lot: Lot, drafts: list[Group]) -> tuple[Group, ...]:
    """Return the groups for which there is room, with their positions, the largest first."""
    groups: list[Group] = []
    boxes: list[Box] = []
    if len(drafts) > 1 and lot() < 0.22:
        groups = _overlapping_pair(lot, drafts[0], drafts[1])
        boxes = [g.box for g in groups]
    for draft in drafts[len(groups) :]:
        found = _room_for(lot, draft, boxes)
        if found is not None:
            groups.append(found)
            boxes.append(found.box)
    return tuple(groups)


def _overlapping_pair(lot: Lot, behind: Group, front: Group) -> list[Group]:
    """Return two single objects, of which the second hides a part of the first, which is large.

    The list is empty if no random position fits.
    """
    pixels = draw_one(lot, LARGE)
    behind = behind._replace(size="large", number=1, pixels=pixels, corners=((0, 0),), flips=behind.flips[:1])
    front = front._replace(number=1, corners=((0, 0),), flips=front.flips[:1])
    low = 0.42 if front.size == "large" else 0.25
    for _ in range(TRIES // 4):
        aside = int(pixels * (low + 0.3 * lot()))
        dx = aside if lot() < 0.5 else pixels - front.pixels - aside
        dy = pixels - front.pixels + int(lot() * 4)
        if HIDDEN[0] <= hidden_share(behind, front, dx, dy) <= HIDDEN[1]:
            left, right = min(0, dx), max(pixels, dx + front.pixels)
            x = 1 - left + int(lot() * (SIDE - 1 - (right - left)))
            y = 1 + int((0.35 + 0.65 * lot()) * (SIDE - 1 - max(pixels, dy + front.pixels)))
            return [behind.moved(x, y), front.moved(x + dx, y + dy)]
    return []


def _room_for(lot: Lot, draft: Group, boxes: list[Box]) -> Group | None:
    """Return the group at a random position that is apart from all boxes; None if no such position is found."""
    _, _, width, height = draft.box
    wide, high = SIDE - 1 - width, SIDE - 1 - height
    at_home = lot() < 0.75
    beside = bool(boxes) and lot() < 0.4
    for attempt in range(TRIES):
        x, y = 1 + int(lot() * wide), 1 + int(lot() * high)
        if attempt < TRIES // 2 and at_home:
            y = 1 + int(lot() * lot() * high) if draft.kind in AIRBORNE else high - int(lot() * lot() * high * 0.7)
        if attempt < TRIES // 2 and beside:
            other = draw_one(lot, boxes)
            gap = 2 + int(lot() * 5)
            x = other[2] + gap if lot() < 0.5 else other[0] - gap - width
            y = other[3] - height
        box = (x, y, x + width, y + height)
        if x < 1 or y < 1 or box[2] >= SIDE or box[3] >= SIDE:
            continue
        if all(apart(box, other) for other in boxes):
            return draft.moved(x, y)
    return None


def _main_relation(lot: Lot, groups: Sequence[Group], i: int, overlap: bool) -> Relation:
    """Return the relation of group ``i`` that a full caption states.

    It is the relation to the group that it overlaps, or otherwise to the nearest earlier group.
    """
    if i == 1 and overlap:
        return Relation("front", 1, 0)
    ax, ay = _centre(groups[i])
    j = min(range(i), key=lambda k: (ax - _centre(groups[k])[0]) ** 2 + (ay - _centre(groups[k])[1]) ** 2)
    names = relations_between(groups[i], groups[j], True)
    near = "near" in names and lot() < 0.6
    return Relation("near" if near else most_visible_relation(groups[i], groups[j], names), i, j)


def _centre(group: Group) -> tuple[int, int]:
    left, top, right, bottom = group.box
    return left + right, top + bottom
