"""The vocabulary of ``scenes``: all facts that the world has, and the words for them.

Each table maps a fact (the key) to the wordings that mean it; the first wording is the usual one. The drawing, the
captions, the recogniser of the grammar and the reader of facts all take their names from here.
"""

from __future__ import annotations

# The singular and the plural of every noun for a kind of object.
NOUNS: dict[str, tuple[tuple[str, str], ...]] = {
    "ball": (("ball", "balls"), ("orb", "orbs")),
    "box": (("box", "boxes"), ("crate", "crates")),
    "star": (("star", "stars"),),
    "heart": (("heart", "hearts"),),
    "tree": (("tree", "trees"), ("pine", "pines")),
    "house": (("house", "houses"), ("cottage", "cottages")),
    "boat": (("boat", "boats"), ("ship", "ships"), ("sailboat", "sailboats")),
    "kite": (("kite", "kites"),),
    "fish": (("fish", "fish"),),
    "cup": (("cup", "cups"), ("mug", "mugs")),
    "flower": (("flower", "flowers"), ("blossom", "blossoms")),
    "tent": (("tent", "tents"),),
    "car": (("car", "cars"), ("automobile", "automobiles")),
    "moon": (("moon", "moons"), ("crescent", "crescents")),
    "umbrella": (("umbrella", "umbrellas"), ("parasol", "parasols")),
    "leaf": (("leaf", "leaves"),),
    "mushroom": (("mushroom", "mushrooms"), ("toadstool", "toadstools")),
    "butterfly": (("butterfly", "butterflies"), ("moth", "moths")),
}

SAME_PLURAL = frozenset(kind for kind, forms in NOUNS.items() if any(one == many for one, many in forms))

COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson"),
    "orange": ("orange",),
    "yellow": ("yellow", "golden"),
    "green": ("green",),
    "blue": ("blue",),
    "purple": ("purple", "violet"),
    "pink": ("pink",),
    "white": ("white",),
    "black": ("black",),
}

SIZES: dict[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"),
    "large": ("large", "big", "huge", "enormous"),
}

# A plain texture is never mentioned, so there is no word for it.
TEXTURES: dict[str, tuple[str, ...]] = {
    "plain": (),
    "striped": ("striped", "stripy"),
    "dotted": ("dotted", "spotted"),
    "checked": ("checked", "checkered"),
}
PATTERNS: dict[str, tuple[str, ...]] = {"striped": ("stripes",), "dotted": ("dots", "spots"), "checked": ("checks",)}

# The counts of a singular and of a plural noun; pictures have one, two or three of a kind.
SINGLE: dict[int, tuple[str, ...]] = {1: ("one", "a single")}
NUMBERS: dict[int, tuple[str, ...]] = {
    2: ("two", "a pair of", "a couple of"),
    3: ("three", "a group of three"),
    4: ("four",),
    5: ("five",),
}
VAGUE = ("some", "several")

PLACES: dict[str, tuple[str, ...]] = {
    "beach": ("on the beach", "on a sandy beach", "at the beach", "at the seaside", "by the sea"),
    "field": ("in a field", "in a grassy field", "in a meadow", "on the grass"),
    "street": ("on the street", "on a street", "on a city street", "on a road"),
    "snow": ("in the snow", "on the snow", "in a snowy landscape", "on snowy ground"),
    "room": ("in a room", "inside a room", "in an empty room", "indoors"),
    "lake": ("on a lake", "on the lake", "by a lake", "on the water"),
    "desert": ("in the desert", "in a desert", "in a dry desert", "among the dunes"),
    "mountains": ("in the mountains", "in a mountain valley", "in a valley", "among the mountains"),
}

LIGHTS: dict[str, tuple[str, ...]] = {
    "day": ("during the day", "on a sunny day", "in daylight", "on a bright day"),
    "sunset": ("at sunset", "at dusk", "in the evening"),
    "night": ("at night", "in the dark", "after dark", "at midnight", "on a dark night"),
    "fog": ("in the fog", "in thick fog", "on a foggy morning", "in the mist", "on a misty morning"),
}

# RELATIONS are the words in "a RELATION b"; ASIDES say the same in "b has a ASIDE", where {it} and {its} mean b.
RELATIONS: dict[str, tuple[str, ...]] = {
    "left": ("to the left of", "on the left of", "left of"),
    "right": ("to the right of", "on the right of", "right of"),
    "above": ("above", "over", "higher than"),
    "below": ("below", "under", "beneath", "underneath", "lower than"),
    "near": ("next to", "beside", "near", "close to"),
    "front": ("in front of",),
    "behind": ("behind",),
}
ASIDES: dict[str, tuple[str, ...]] = {
    "left": ("to {its} left", "on {its} left"),
    "right": ("to {its} right", "on {its} right"),
    "above": ("above {it}", "over {it}"),
    "below": ("below {it}", "under {it}", "beneath {it}"),
    "near": ("next to {it}", "beside {it}", "near {it}"),
    "front": ("in front of {it}",),
    "behind": ("behind {it}",),
}
CONVERSE = {
    "left": "right",
    "right": "left",
    "above": "below",
    "below": "above",
    "near": "near",
    "front": "behind",
    "behind": "front",
}

KIND_NAMES = tuple(NOUNS)
COLOUR_NAMES = tuple(COLOURS)
TEXTURE_NAMES = tuple(TEXTURES)
PLACE_NAMES = tuple(PLACES)
LIGHT_NAMES = tuple(LIGHTS)
