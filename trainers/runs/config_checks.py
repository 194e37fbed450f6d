"""Nested values against a configuration's classes: pydantic checks them, and each of its errors becomes a sentence."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from capreward.errors import InputError

T = TypeVar("T")
KINDS = {
    "integer": "a whole number", "number": "a number", "string": "a text", "boolean": "true or false",
    "object": "a mapping",
}  # fmt: skip
UNKNOWN = ("unexpected_keyword_argument", "invalid_key")
OUT_OF_RANGE = ("greater_than_equal", "less_than_equal", "finite_number")


def checked(kind: type[T], values: Mapping[str, Any], wrong: list[str]) -> T | None:
    """A configuration of sections from nested values.

    Args:
        kind: A dataclass of plain values and of further dataclasses, with the annotations of pydantic.
        values: The nested values.
        wrong: A list, to which one sentence is added for each setting that cannot be used, in the order of the values.

    Returns:
        The configuration; None if something was wrong.
    """
    adapter: TypeAdapter[T] = _adapter(cast("Any", kind))
    try:
        made = adapter.validate_python(dict(values))
    except ValidationError as error:
        sentences = _Sentences(adapter.json_schema(), values)
        found = sorted(error.errors(include_url=False), key=lambda each: sentences.place(each["loc"]))
        first: dict[tuple[Any, ...], str] = {}
        for each in found:  # a list with two wrong numbers is one wrong setting
            first.setdefault(sentences.subject(each), sentences.of(each))
        wrong.extend(dict.fromkeys(first.values()))
        return None
    return made


def refuse(wrong: Sequence[str]) -> None:
    """Tell all that is wrong at once; nothing is done where nothing is.

    Raises:
        InputError: one line each.
    """
    if len(wrong) == 1:
        raise InputError(wrong[0])
    if wrong:
        raise InputError(f"{len(wrong)} settings cannot be used:\n" + "\n".join(f"  - {line}" for line in wrong))


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Made once for each class, in about 10 ms; a configuration takes 10 us."""
    return TypeAdapter(kind)


class _Sentences:
    """What pydantic refuses, told to people.

    Args:
        schema: of the whole configuration, which knows kinds and ranges.
        values: that were refused.
    """

    def __init__(self, schema: dict[str, Any], values: Mapping[str, Any]) -> None:
        sections = {f"#/$defs/{name}": section for name, section in schema.get("$defs", {}).items()}
        self.settings = {name: sections.get(node.get("$ref"), node) for name, node in schema["properties"].items()}
        self.values = values

    def place(self, where: Sequence[int | str]) -> list[int]:
        """Return where a setting stands among the values: its number among its neighbours, level by level."""
        given: Any = self.values
        found: list[int] = []
        for part in where:
            if not isinstance(given, Mapping):
                break
            keys = list(given)
            key = next((k for k in keys if _same_key(k, part)), None)
            found.append(keys.index(key) if key in keys else len(keys))
            given = given.get(key)
        return found

    def subject(self, error: ErrorDetails) -> tuple[Any, ...]:
        """Return what an error is about: a setting, a key that is none, or a section as a whole."""
        if error["type"] in UNKNOWN:
            return error["loc"]
        return ("value", *self._setting(error["loc"])[0])

    def of(self, error: ErrorDetails) -> str:
        """The sentence about an error."""
        kind, found, where = error["type"], error["input"], error["loc"]
        if kind in UNKNOWN:
            return self._unknown(where)
        if kind == "value_error":
            return self._own(where, error)
        names, node = self._setting(where)
        path = ".".join(names)
        if kind == "dataclass_type":
            return f"{path} is a section; found {found!r}"
        if where[-1] == "[key]":
            return f"the keys of {path} must be texts; found {found!r}"
        if kind in OUT_OF_RANGE:
            return f"{path} must be {_range(_item(node, where[len(names) :]))}; found {found!r}"
        if kind == "literal_error" and isinstance(found, str):
            return f"{path}={found!r} is none of {', '.join(_plain(node)['enum'])}"
        return f"{path} must be {_told(node)}; found {self._given(names)!r}"

    def _given(self, names: Sequence[int | str]) -> Any:
        """What was given under these names."""
        given: Any = self.values
        for name in names:
            given = given[name]
        return given

    def _setting(self, where: Sequence[int | str]) -> tuple[list[str], dict[str, Any]]:
        """The names of the setting that an error is about, without what follows inside of it, and its schema."""
        node: dict[str, Any] = {"properties": self.settings}
        names = []
        for part in where:
            if part not in node.get("properties", {}):
                break
            node = node["properties"][part]
            names.append(str(part))
        return names, node

    def _own(self, where: Sequence[int | str], error: ErrorDetails) -> str:
        """What a section's own check says, with the section's name."""
        told = str(error["ctx"]["error"])
        first = re.split(r"[ .=]", told)[0]
        names, node = self._setting(where)
        if not names or names[-1] == first:
            return told
        return ".".join(names) + ("." if first in node.get("properties", {}) else ": ") + told

    def _unknown(self, where: Sequence[int | str]) -> str:
        """A setting that there is not, with the nearest one that there is."""
        section, node = self._setting(where[:-1])
        given = [*self._given(section), where[-1]]
        key = str(next(k for k in given if _same_key(k, where[-1])))
        known = list(node["properties"])
        near = [".".join([*section, name]) for name in difflib.get_close_matches(key, known, n=1, cutoff=0.5)]
        elsewhere = [f"{name}.{key}" for name, other in self.settings.items() if key in other.get("properties", {})]
        told = [*elsewhere, *near]
        hint = f"did you mean {told[0]}?" if told else f"known here are {', '.join(known)}"
        return f"unknown setting {'.'.join([*section, key])}; {hint}"


def _same_key(key: object, told: int | str) -> bool:
    """Whether pydantic means this key: it tells True, which YAML reads from ``on``, as 1, and a date by its repr."""
    return key == told or (not isinstance(key, str) and repr(key) == told)


def _plain(node: dict[str, Any]) -> dict[str, Any]:
    """The schema of a setting that is not null."""
    found: dict[str, Any] = next((n for n in node.get("anyOf", []) if n.get("type") != "null"), node)
    return found


def _item(node: dict[str, Any], inside: Sequence[int | str]) -> dict[str, Any]:
    """The schema of a member of a list, or of the setting itself."""
    found = _plain(node)
    for part in inside:
        found = found["prefixItems"][part]
    return found


def _kind(node: dict[str, Any]) -> str:
    kind = node["type"]
    return str(kind if isinstance(kind, str) else kind[0])


def _told(node: dict[str, Any]) -> str:
    """What a setting must be: ``a whole number or null``."""
    plain = _plain(node)
    if _kind(plain) == "array":
        member = KINDS[_kind(plain.get("items") or plain["prefixItems"][0])]
        told = f"a list of {member.split(' ', 1)[1]}s"
    else:
        told = KINDS[_kind(plain)]
    return told if plain is node else f"{told} or null"


def _range(node: dict[str, Any]) -> str:
    """Kind and range of a number: ``a number, at least 0``."""
    upper = f" and at most {node['maximum']:g}" if "maximum" in node else ""
    return f"{KINDS[node['type']]}, at least {node['minimum']:g}{upper}"
