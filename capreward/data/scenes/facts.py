"""Stated facts against the truth of a scene: what is counted for precision and recall."""

from __future__ import annotations

from dataclasses import dataclass

from capreward.data.scenes.layout import Group
from capreward.data.scenes.stated_facts import Facts, Meaning
from capreward.data.scenes.world import Scene

Row = tuple[int, int, int, int]


@dataclass(frozen=True)
class Truth:
    """What is true of a scene, by kinds of objects, which are unique within a scene.

    Attributes:
        groups: the groups by kind.
        holding: every true relation, as (name, kind, kind), from both sides.
        told: the pairs of kinds of which a full caption gives the relation.
        place: where.
        light: when.
    """

    groups: dict[str, Group]
    holding: frozenset[tuple[str, str, str]]
    told: frozenset[frozenset[str]]
    place: str
    light: str

    @classmethod
    def of(cls, scene: Scene) -> Truth:
        """The truth of a scene."""
        groups, content = scene.objects, scene.content
        numbers = range(len(groups))
        holding = {
            (name, groups[a].kind, groups[b].kind)
            for a in numbers
            for b in numbers
            if a != b
            for name in content.holding(a, b)
        }
        told = frozenset(frozenset((groups[r.a].kind, groups[r.b].kind)) for r in scene.relations)
        return cls({g.kind: g for g in groups}, frozenset(holding), told, scene.place, scene.light)


def attributes_of(group: Group) -> set[Meaning]:
    """Colour, size and, unless it is plain, texture."""
    texture = {("texture", group.texture)} if group.texture != "plain" else set()
    return {("colour", group.colour), ("size", group.size)} | texture


def compared(facts: Facts, truth: Truth) -> tuple[Row, ...]:
    """For each category how many facts are stated, that are stated and true, that there are, that are told.

    - objects: mentions; a mention is true if the scene has the kind and it is the first mention of that kind.
    - attributes: colours, sizes and textures bound to mentions; those of a false mention are false. There are a colour
      and a size for each group, and a texture unless it is plain.
    - relations: between two mentions, converses being one; all that hold are true. There are as many as a full caption
      gives (one for each group after the first), and one is told by any true relation between its two groups.
    - counts: numbers of mentions ("a" is one). There is one for each group.
    - setting: place and light.
    """
    attributes, counts, real = [0, 0, 0, 0], [0, 0, 0, 0], set()
    valid: list[bool] = []
    for mention in facts.mentions:
        group = truth.groups.get(mention.kind)
        valid.append(group is not None and mention.kind not in real)
        attributes[0] += len(mention.attributes)
        counts[0] += len(mention.counts)
        if group is not None and mention.kind not in real:
            real.add(mention.kind)
            attributes[1] += len(mention.attributes & attributes_of(group))
            counts[1] += group.number in mention.counts
    attributes[2:] = sum(len(attributes_of(g)) for g in truth.groups.values()), attributes[1]
    counts[2:] = len(truth.groups), counts[1]
    right = places_and_lights(facts, truth)
    objects = (len(facts.mentions), len(real), len(truth.groups), len(real))
    return objects, _row(attributes), _relations(facts, truth, valid), _row(counts), right


def _row(numbers: list[int]) -> Row:
    stated, true, known, told = numbers
    return stated, true, known, told


def places_and_lights(facts: Facts, truth: Truth) -> Row:
    """The counts of the setting."""
    right = (truth.place in facts.places) + (truth.light in facts.lights)
    return len(facts.places) + len(facts.lights), right, 2, right


def _relations(facts: Facts, truth: Truth, valid: list[bool]) -> Row:
    true, told = 0, set()
    for name, a, b in facts.relations:
        kinds = facts.mentions[a].kind, facts.mentions[b].kind
        if valid[a] and valid[b] and (name, *kinds) in truth.holding:
            true += 1
            told.add(frozenset(kinds))
    return len(facts.relations), true, len(truth.told), len(told & truth.told)
