"""From recipes, YAML files and ``a.b=c`` to a checked configuration, with all that is wrong told at once."""

from __future__ import annotations

import difflib
import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from capreward.errors import InputError
from trainers.runs.config import RunConfig

if TYPE_CHECKING:
    from trainers.optimizers.base import Optimizer

T = TypeVar("T")
RECIPES = "trainers.recipes"


def recipe_names(package: str = RECIPES) -> list[str]:
    """The recipes that ship with capreward, of captioners or of another package's."""
    return sorted(p.name.removesuffix(".yaml") for p in files(package).iterdir() if p.name.endswith(".yaml"))


def read_recipe(name: str, package: str = RECIPES) -> dict[str, Any]:
    """The values of a recipe.

    Raises:
        InputError: an unknown name, with suggestions.
    """
    known = recipe_names(package)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known)}"
        raise InputError(f"there is no recipe {name!r}; {hint}")
    return parse_yaml(files(package).joinpath(f"{name}.yaml").read_text(encoding="utf-8"), name)


def read_yaml(path: Path) -> dict[str, Any]:
    """The values of a YAML file.

    Raises:
        InputError: missing, unreadable, or no mapping.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InputError(f"the configuration {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"the configuration {path} is no UTF-8 text") from error


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """A mapping written in YAML.

    Raises:
        InputError: malformed, or no mapping.
    """
    import yaml

    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"{where} is no valid YAML: {' '.join(str(error).split())}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InputError(f"{where} must hold keys and values; found a {type(found).__name__}")
    return found


def settings(pairs: Iterable[str]) -> dict[str, Any]:
    """``["training.lr=1e-4", "evaluation.beams=3"]`` as nested values.

    Raises:
        InputError: a setting without ``=``.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, mark, text = pair.partition("=")
        if not mark or not name.strip():
            raise InputError(f"--set {pair}: write --set section.key=value, as in --set training.lr=1e-4")
        found = merged(found, nested(name.strip(), _value(text)))
    return found


def nested(name: str, value: Any) -> dict[str, Any]:
    """``("a.b", 1)`` as ``{"a": {"b": 1}}``."""
    for part in reversed(name.split(".")):
        value = {part: value}
    found: dict[str, Any] = value
    return found


def merged(base: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the values of ``more``; mappings are merged, another optimizer or objective replaces the first."""
    found = dict(base)
    for key, value in more.items():
        before = found.get(key)
        renamed = key in ("optimizer", "objective") and isinstance(value, Mapping) and "name" in value
        if renamed and isinstance(before, Mapping) and before.get("name") != value["name"]:
            found[key] = dict(value)
        elif isinstance(value, Mapping) and isinstance(before, Mapping):
            found[key] = merged(before, value)
        else:
            found[key] = value
    return found


def build(values: Mapping[str, Any]) -> RunConfig:
    """A checked configuration.

    Raises:
        InputError: everything that is wrong, one line each.
    """
    wrong: list[str] = []
    given = values.get("optimizer")
    if isinstance(given, Mapping) and "name" not in given:
        values = {**values, "optimizer": {"name": "xe", **given}}
    config = sections(RunConfig, values, wrong)
    optimizer = _optimizer(values, wrong)
    refuse(wrong)
    assert config is not None  # noqa: S101  # for the type checker: else something is wrong
    assert optimizer is not None  # noqa: S101  # likewise
    return replace(config, optimizer={"name": optimizer.name, **optimizer.options()})


def refuse(wrong: Sequence[str]) -> None:
    """Tell all that is wrong at once; nothing is done where nothing is.

    Raises:
        InputError: one line each.
    """
    if len(wrong) == 1:
        raise InputError(wrong[0])
    if wrong:
        raise InputError(f"{len(wrong)} settings cannot be used:\n" + "\n".join(f"  - {line}" for line in wrong))


def _optimizer(values: Mapping[str, Any], wrong: list[str]) -> Optimizer | None:
    """The optimizer that is asked for, with all its options, and whether it has the reward that it needs."""
    from trainers.optimizers.base import make_optimizer

    options, reward = values.get("optimizer", {"name": "xe"}), values.get("reward", {})
    if not isinstance(options, Mapping) or not isinstance(options.get("name"), str):
        return None  # told where the sections are checked
    try:
        optimizer = make_optimizer(options["name"], {k: v for k, v in options.items() if k != "name"})
    except InputError as error:
        wrong.append(f"optimizer: {error}")
        return None
    if optimizer.needs_reward and not (isinstance(reward, Mapping) and reward.get("expression")):
        known = "give --reward pacs or another (capreward ls evaluators)"
        wrong.append(f"the optimizer {optimizer.name} needs a reward; {known}")
    return optimizer


def sections(kind: type[T], values: Mapping[str, Any], wrong: list[str]) -> T | None:
    """A configuration of sections from nested values.

    Args:
        kind: a dataclass of plain values and of further dataclasses, each with a method ``check``.
        values: nested as it is.
        wrong: one sentence is added for each thing that cannot be used.

    Returns:
        The configuration; None where something was wrong.
    """
    return _built(kind, values, "", wrong, kind)


def _built(kind: type[T], values: Mapping[str, Any], path: str, wrong: list[str], whole: type[Any]) -> T | None:
    """An instance of a section, or None where something in it was wrong."""
    before = len(wrong)
    hints = typing.get_type_hints(kind)
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            wrong.append(_unknown(f"{path}{key}", str(key), path, known, whole))
        elif is_dataclass(hints[key]):
            if not isinstance(value, Mapping):
                wrong.append(f"{path}{key} is a section; found {value!r}")
            else:
                section = typing.cast("type[Any]", hints[key])
                given[key] = _built(section, value, f"{path}{key}.", wrong, whole)
        else:
            try:
                given[key] = _fitting(value, hints[key])
            except (TypeError, ValueError):
                wrong.append(f"{path}{key} must be {_told(hints[key])}; found {value!r}")
    if len(wrong) > before:
        return None
    made = kind(**given)
    try:
        made.check()  # type: ignore[attr-defined]
    except InputError as error:
        starts_with_key = re.split(r"[ .=]", str(error))[0] in known
        wrong.append(f"{path}{error}" if starts_with_key or not path else f"{path[:-1]}: {error}")
    return made


def _unknown(name: str, key: str, path: str, known: list[str], whole: type[Any]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    elsewhere = [f"{f.name}.{key}" for f in fields(whole) if f.name != path[:-1] and key in _keys(whole, f.name)]
    if elsewhere:
        near = elsewhere[:1]
    elif near:
        near = [f"{path}{near[0]}"]
    hint = f"did you mean {near[0]}?" if near else f"known here are {', '.join(known)}"
    return f"unknown setting {name}; {hint}"


def _keys(whole: type[Any], section: str) -> list[str]:
    kind = typing.get_type_hints(whole)[section]
    return [f.name for f in fields(kind)] if is_dataclass(kind) else []


def _fitting(value: Any, hint: Any) -> Any:
    """The value as the type wants it; whole numbers are numbers, and YAML's ``1e-4``, a string to it, is one too."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in inner:
            return None
        return _fitting(value, next(t for t in inner if t is not type(None)))
    if origin in (list, tuple):
        return _fitting_several(value, origin, inner)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise TypeError
        return dict(value)
    return _plain(value, hint)


def _fitting_several(value: Any, origin: type, inner: Sequence[Any]) -> Any:
    if origin is list:
        listed = value.split(",") if isinstance(value, str) else value
        if not isinstance(listed, list):
            raise TypeError
        return [_fitting(v, inner[0]) for v in listed]
    if inner[-1] is Ellipsis:  # any number; one alone needs no brackets
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, (list, tuple)):
            raise TypeError
        return tuple(_fitting(v, inner[0]) for v in listed)
    if not isinstance(value, (list, tuple)) or len(value) != len(inner):
        raise TypeError
    return tuple(_fitting(v, t) for v, t in zip(value, inner, strict=True))


def _plain(value: Any, kind: type) -> Any:
    if kind is float and isinstance(value, (int, float, str)) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind is str and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError
    return value


def _told(hint: Any) -> str:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _told(next(t for t in inner if t is not type(None))) + " or null"
    if origin in (list, tuple):
        return f"a list of {_told(inner[0]).split(' ', 1)[1]}s"
    return {int: "a whole number", float: "a number", str: "a text", bool: "true or false", dict: "a mapping"}.get(
        origin or hint, str(hint)
    )


def _value(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
