"""The comparison of stated facts with the truth of a scene: the counts for precision and recall."""

from __future__ import annotations

from dataclasses import dataclass

from capreward.data.scenes.layout import Group
from capreward.data.scenes.stated_facts import Facts, Meaning
from capreward.data.scenes.world import Scene

Row = tuple[int, int, int, int]


@dataclass(frozen=True)
class Truth:
    """The facts that are true of a scene, by the kinds of its objects, each of which occurs once in a scene.

    Attributes:
        groups: The groups by their kind.
        holding: Every true relation, as (name, kind, kind), from both sides.
        told: The pairs of kinds whose relation a full caption states.
        place: The place, such as ``beach``.
        light: The light: ``day``, ``sunset``, ``night`` or ``fog``.
    """

    groups: dict[str, Group]
    holding: frozenset[tuple[str, str, str]]
    told: frozenset[frozenset[str]]
    place: str
    light: str

    @classmethod
    def of(cls, scene: Scene) -> Truth:
        """Return the truth of a scene."""
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
    """Return the attributes of a group: colour, size and, unless it is plain, texture."""
    texture = {("texture", group.texture)} if group.texture != "plain" else set()
    return {("colour", group.colour), ("size", group.size)} | texture


def count_facts(facts: Facts, truth: Truth) -> tuple[Row, ...]:
    """Count the facts of each category.

    - objects: A fact is a mention; it is true if the scene has the kind and no earlier mention has it.
    - attributes: The facts are colours, sizes and textures of mentions; those of a false mention are false. A scene has
      a colour and a size for each group, and a texture unless it is plain.
    - relations: A fact is a relation between two mentions; a relation and its converse are one fact. It is true if it
      holds between the two groups. A scene has one relation for each group after the first, as a full caption gives
      them; any true relation between the two groups tells it.
    - counts: The facts are numbers of mentions ("a" is one). A scene has one for each group.
    - setting: The facts are place and light.

    Returns:
        For each of the five categories, in this order, four numbers: facts that the caption states, facts that it
        states and that are true, facts that the scene has, and facts of the scene that the caption tells.
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
    """Count the facts of the setting: stated, true, of the scene (always 2), and told."""
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
