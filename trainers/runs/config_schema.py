"""A configuration as JSON Schema, so that an editor knows every setting and explains it in the words of its class."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, get_type_hints

from pydantic import TypeAdapter

from trainers.captioners.config import CaptionerConfig
from trainers.optimizers.base import OPTIMIZERS
from trainers.optimizers.registered_classes import Table, find
from trainers.runs.config import RunConfig

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def run_schema() -> dict[str, Any]:
    """The JSON Schema of the configuration of a run that trains a captioner."""
    found = described(RunConfig, {"optimizer": OPTIMIZERS})
    kinds = [type(CaptionerConfig(kind=kind).default_sizes()) for kind in ("grid", "clip-reward")]
    found["$defs"]["CaptionerConfig"]["properties"]["sizes"]["anyOf"] = [options_schema(kind) for kind in kinds]
    return found


def described(kind: type[Any], named: Mapping[str, Table]) -> dict[str, Any]:
    """The JSON Schema of a configuration of sections, with an explanation of every setting.

    Args:
        kind: a dataclass of plain values and of further dataclasses, with the annotations of pydantic.
        named: settings that are a name with options, each with the classes that its names stand for.
    """
    schema = TypeAdapter(kind).json_schema()
    sections: list[type[Any]] = [hint for hint in get_type_hints(kind).values() if is_dataclass(hint)]  # type: ignore[misc]
    for section in sections:
        _explain(schema["$defs"][section.__name__], section)
    _explain(schema, kind)
    for name, table in named.items():
        schema["properties"][name] |= _choice(name, table)
    return {"$schema": DIALECT, **schema}


def options_schema(kind: type[Any]) -> dict[str, Any]:
    """The options of a class, by its constructor's annotations, defaults and documentation."""
    hints, told = get_type_hints(kind.__init__), documented(kind)
    found: dict[str, Any] = {}
    for name, option in inspect.signature(kind).parameters.items():
        default = list(option.default) if isinstance(option.default, tuple) else option.default
        found[name] = {**TypeAdapter(hints[name]).json_schema(), "default": default, "description": told[name]}
    return {"type": "object", "description": _first_line(kind), "properties": found, "additionalProperties": False}


def documented(kind: type[Any]) -> dict[str, str]:
    """What a class and those that it is made from say of each attribute or argument."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        section = re.search(r"^(?:Attributes|Args):\n((?:(?: .*)?\n?)*)", inspect.cleandoc(base.__doc__ or ""), re.M)
        told = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section[1] if section else "", re.MULTILINE)
        found |= {name: " ".join(text.split()) for name, text in told}
    return found


def _explain(schema: dict[str, Any], kind: type[Any]) -> None:
    """Put what a class says into its schema."""
    told, names = documented(kind), [field.name for field in fields(kind)]
    schema["description"] = _first_line(kind)
    schema.pop("title", None)
    for name in names:
        schema["properties"][name].pop("title", None)
        schema["properties"][name]["description"] = told[name]


def _choice(what: str, table: Table) -> dict[str, Any]:
    """A name with its options. A file may leave out the name, which a flag or a recipe then gives."""
    kinds = []
    for name, (_, about) in table.items():
        options = options_schema(find(what, name, table))
        own = {"name": {"const": name, "description": f"{name}: {about}."}, **options["properties"]}
        kinds.append({**options, "title": name, "properties": own})
    return {"properties": {"name": {"enum": list(table)}}, "anyOf": kinds}


def _first_line(kind: type[Any]) -> str:
    return inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0]
