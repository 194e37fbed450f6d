"""From recipes, YAML files and ``a.b=c`` to a checked configuration, with all that is wrong told at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError

if TYPE_CHECKING:
    from trainers.optimizers.base import Optimizer
    from trainers.runs.config import RunConfig

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
    from trainers.runs.config import RunConfig
    from trainers.runs.config_checks import checked, refuse

    wrong: list[str] = []
    given = values.get("optimizer")
    if isinstance(given, Mapping) and "name" not in given:
        values = {**values, "optimizer": {"name": "xe", **given}}
    config = checked(RunConfig, values, wrong)
    optimizer = _optimizer(values, wrong)
    refuse(wrong)
    assert config is not None  # noqa: S101  # for the type checker: else something is wrong
    assert optimizer is not None  # noqa: S101  # likewise
    return replace(config, optimizer={"name": optimizer.name, **optimizer.options()})


def _optimizer(values: Mapping[str, Any], wrong: list[str]) -> Optimizer | None:
    """The optimizer that is asked for, with all its options, and whether it has the reward that it needs."""
    from trainers.optimizers.base import make_optimizer

    options, reward = values.get("optimizer", {"name": "xe"}), values.get("reward", {})
    if not is_named(options):
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


def is_named(options: Any) -> bool:
    """Whether this is a name with options, as ``optimizer`` and ``objective`` are: a mapping from texts."""
    return (
        isinstance(options, Mapping)
        and isinstance(options.get("name"), str)
        and all(isinstance(k, str) for k in options)
    )


def _value(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
