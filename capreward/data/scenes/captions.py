"""The writer of captions: it applies the rules of the grammar to what a caption is to say about a content."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from capreward.data.scenes.grammar_rules import MANY, ONE, PAIR, PRONOUNS, SENTENCES, article, rules
from capreward.data.scenes.layout import Group, Relation
from capreward.data.scenes.recogniser import parse_row
from capreward.data.scenes.sampling import Content, Lot, draw_one
from capreward.data.scenes.vocabulary import (
    ASIDES,
    COLOURS,
    LIGHTS,
    NOUNS,
    NUMBERS,
    PATTERNS,
    PLACES,
    RELATIONS,
    SAME_PLURAL,
    SINGLE,
    SIZES,
    TEXTURES,
    VAGUE,
)

CAPTIONS_EACH = 5
PLACE, LIGHT = "PLACE", "LIGHT"  # the symbols of the rules


@dataclass(frozen=True)
class Plan:
    """The plan of what a caption, or a part of it, is to say.

    Attributes:
        slots: The group that each slot of a rule means.
        relation: The relation of slot a towards slot b.
        setting: The parts of the setting to mention: place, light, both or none.
        more: Further relations, each from a new group towards a group that is already mentioned.
        rest: The further groups of a list.
        full: If True, all that is known of each group is said.
        definite: If True, the caption says "the ball" where the rule leaves the choice.
        known: The groups that are mentioned so far; the parts of a caption share this mutable set.
    """

    slots: dict[str, int] = field(default_factory=dict)
    relation: str = ""
    setting: tuple[str, ...] = ()
    more: tuple[Relation, ...] = ()
    rest: tuple[int, ...] = ()
    full: bool = False
    definite: bool = False
    known: set[int] = field(default_factory=set)


def caption(content: Content, number: int, lot: Lot) -> str:
    """Write one of the five captions of a picture.

    Caption 0 says everything, 1 mentions one group (mostly the main one), 2 two groups, 3 all groups and the place, and
    4 two groups and the setting. If a picture has one group, all captions are about it and differ in how much of the
    setting they give.

    Args:
        content: The content of the picture.
        number: The number of the caption, 0 to 4.
        lot: A function that returns random numbers, uniform in [0, 1).
    """
    writer = _Writer(content, lot)
    words = writer.rows(*_plan_caption(content, number, lot))
    for i, word in enumerate(words[:-1]):
        if word in ("a", "an"):
            words[i] = article(words[i + 1])
    text = " ".join(words).replace(" ,", ",")
    style = lot()
    if style < 0.45:
        return text
    return text[:1].upper() + text[1:] + ("." if style < 0.9 else "")


def _plan_caption(content: Content, number: int, lot: Lot) -> tuple[Sequence[str], Plan]:
    """Return the rules from which one is drawn, and the plan of what it is to say."""
    n = len(content.groups)
    definite = lot() < 0.12
    setting: tuple[str, ...] = (PLACE, LIGHT)
    if number == 4:
        setting = draw_one(lot, (setting, (PLACE,), (LIGHT,)))
    elif number > 0:
        setting = draw_one(lot, ((PLACE,), (PLACE,), (LIGHT,), ())) if number < 3 else (PLACE,)
    links = content.relations
    if n == 1 or number == 1:
        main = 0 if lot() < 0.75 else int(lot() * n)
        return ONE, Plan({"a": main}, "", setting, full=number == 0, definite=definite)
    if number == 3:
        return MANY, Plan({"a": 0}, "", setting, rest=tuple(range(1, n)))
    first = links[0] if number == 0 else draw_one(lot, links)
    first = _vary_relation(content, first, lot)
    if lot() < 0.5:
        first = first.converse
    more = tuple(_vary_relation(content, link, lot) for link in links[1:]) if number == 0 else ()
    setting = () if number == 2 else setting
    slots = {"a": first.a, "b": first.b}
    return PAIR, Plan(slots, first.name, setting, more, full=number == 0, definite=definite)


def _vary_relation(content: Content, link: Relation, lot: Lot) -> Relation:
    """Return the relation, or in one of five cases a random one of those that hold between the two groups."""
    return link if lot() < 0.8 else link._replace(name=draw_one(lot, content.holding(link.a, link.b)))


def _fits(row: str, plan: Plan) -> bool:
    """Return whether a row can say all of the plan and needs nothing that the plan lacks."""
    names = {name for name, _, _ in parse_row(row)}
    needed = {name for name, often, _ in parse_row(row) if not often}
    told = set(plan.setting)
    if ("SETTING" in needed and not told) or not needed & {PLACE, LIGHT} <= told:
        return False
    if "SETTING" not in names and not told <= names:
        return False
    if plan.more and not names & {"JOIN", "WITH"}:
        return False
    if "WITH" in names and ((len(plan.more) > 2) or ("WITH" in needed and not plan.more)):
        return False
    return not any(name == "NP" and plan.slots.get(slot) in plan.known for name, _, slot in parse_row(row))


class _Writer:
    """Expands symbols into words; it chooses by what there is to say, and otherwise at random."""

    def __init__(self, content: Content, lot: Lot) -> None:
        self.content = content
        self.lot = lot
        self.special: dict[str, Callable[[Plan, str], list[str]]] = {
            "SETTING": self._setting,
            "PLACE": lambda plan, slot: self._one_of(PLACES[self.content.place]),
            "LIGHT": lambda plan, slot: self._one_of(LIGHTS[self.content.light]),
            "REL": lambda plan, slot: self._one_of(RELATIONS[plan.relation]),
            "ASIDE": self._aside,
            "ANY": self._any,
            "NP": lambda plan, slot: self._noun_phrase("NP", plan, slot),
            "DEF": lambda plan, slot: self._noun_phrase("DEF", plan, slot),
            "JOIN": self._join,
            "WITH": self._with,
            "LIST": lambda plan, slot: self._row(SENTENCES["LIST"][0], plan),
            "REST": self._rest,
            "CLAUSE": lambda plan, slot: self.rows(SENTENCES["CLAUSE"], replace(plan, setting=(), more=())),
        }

    def rows(self, rows: Sequence[str], plan: Plan) -> list[str]:
        """Expand one of the rows that fit the plan, drawn at random."""
        return self._row(draw_one(self.lot, [row for row in rows if _fits(row, plan)]), plan)

    def _row(self, row: str, plan: Plan) -> list[str]:
        words: list[str] = []
        for name, often, slot in parse_row(row):
            if name == ",":
                words += [","] if self.lot() < 0.5 else []
            elif name.islower():
                words.append(name)
            elif not often or self._is_included(name, plan):
                words += self._symbol(name, plan, slot)
        return words

    def _is_included(self, name: str, plan: Plan) -> bool:
        if name in ("JOIN", "WITH"):
            return bool(plan.more)
        if name in ("SETTING", PLACE, LIGHT):
            return bool(plan.setting) if name == "SETTING" else name in plan.setting
        return self.lot() < 0.35

    def _symbol(self, name: str, plan: Plan, slot: str) -> list[str]:
        if name in self.special:
            return self.special[name](plan, slot)
        number = slot if slot in ("s", "p", "") else self._grammatical_number(plan.slots[slot])
        return self._one_of(rules()[f"{name}.{number}" if number else name])

    def _one_of(self, options: Sequence[str]) -> list[str]:
        """Return the words of the usual wording in half of the cases, and of one of the others otherwise."""
        usual = len(options) == 1 or self.lot() < 0.5
        return (options[0] if usual else draw_one(self.lot, options[1:])).split()

    def _grammatical_number(self, group: int) -> str:
        return "s" if self.content.groups[group].number == 1 else "p"

    def _setting(self, plan: Plan, slot: str) -> list[str]:
        return [word for fact in plan.setting for word in self._symbol(fact, plan, "")]

    def _aside(self, plan: Plan, slot: str) -> list[str]:
        words = self._one_of(ASIDES[plan.relation])
        pronouns = PRONOUNS[self._grammatical_number(plan.slots[slot])]
        return [word.format(**pronouns) for word in words]

    def _any(self, plan: Plan, slot: str) -> list[str]:
        number = plan.slots[slot]
        group = self.content.groups[number]
        # A full caption says how many objects there are, which "the fish" does not say.
        unclear = plan.full and group.number == 1 and group.kind in SAME_PLURAL
        definite = number in plan.known or (plan.definite and not unclear)
        return self._noun_phrase("DEF" if definite else "NP", plan, slot)

    def _join(self, plan: Plan, slot: str) -> list[str]:
        words: list[str] = []
        for link in plan.more:
            link = link.converse if self.lot() < 0.25 else link
            part = replace(plan, slots={"a": link.a, "b": link.b}, relation=link.name, setting=(), more=())
            row = draw_one(self.lot, SENTENCES["JOIN"])
            head = [w for w in row.split() if w != "LINK" and (w != "," or self.lot() < 0.5)]
            words += head + self.rows(SENTENCES["LINK"], part)
        return words

    def _with(self, plan: Plan, slot: str) -> list[str]:
        words: list[str] = []
        row = SENTENCES["WITH"][len(plan.more) - 1].split()
        links = iter(plan.more)
        for word in row:
            if word == "BESIDE":
                link = next(links)
                part = replace(plan, slots={"a": link.a, "b": link.b}, relation=link.name)
                words += self._row(SENTENCES["BESIDE"][0], part)
            else:
                words.append(word)
        return words

    def _rest(self, plan: Plan, slot: str) -> list[str]:
        row = SENTENCES["REST"][len(plan.rest) - 1]
        return self._row(row, replace(plan, slots=dict(zip("abc", plan.rest, strict=False))))

    def _noun_phrase(self, name: str, plan: Plan, slot: str) -> list[str]:
        number = plan.slots[slot]
        group = self.content.groups[number]
        again, full = number in plan.known, plan.full and number not in plan.known
        plan.known.add(number)
        texture = group.texture != "plain" and (full or self.lot() < (0.0 if again else 0.5))
        told = {
            "SIZE": full or self.lot() < (0.0 if again else 0.4),
            "COLOUR": full or self.lot() < (0.15 if again else 0.75),
            "TEXTURE": texture,
            "CARDINAL": full or self.lot() < (0.1 if again else 0.6),
        }
        row = rules()[f"{name}.{self._grammatical_number(number)}"][int(texture and self.lot() < 0.3)]
        words: list[str] = []
        for symbol, often, _ in parse_row(row):
            if symbol.islower():
                words.append(symbol)
            elif not often or told[symbol]:
                words += self._feature(symbol, group, full)
        return words

    def _feature(self, symbol: str, group: Group, full: bool) -> list[str]:
        if symbol == "NOUN":
            return self._one_of([forms[group.number > 1] for forms in NOUNS[group.kind]])
        if symbol == "ONE":
            return ["a"] if self.lot() < 0.92 else self._one_of(SINGLE[1])
        if symbol == "NUMBER":
            return self._one_of(NUMBERS[group.number] if full or self.lot() < 0.85 else VAGUE)
        if symbol == "CARDINAL":
            return [NUMBERS[group.number][0]]
        table, key = {
            "SIZE": (SIZES, group.size),
            "COLOUR": (COLOURS, group.colour),
            "TEXTURE": (TEXTURES, group.texture),
            "PATTERN": (PATTERNS, group.texture),
        }[symbol]
        return self._one_of(table[key])
