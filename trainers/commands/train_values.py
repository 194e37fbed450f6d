"""Flags, recipes and files of ``capreward train`` to one set of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capreward.errors import InputError
from trainers.runs.config_files import merged, nested, read_recipe, read_yaml, recipe_names, settings

FLAGS = {
    "optimizer": "optimizer.name",
    "reward": "reward.expression",
    "captioner": "captioner.init",
    "tower": "captioner.tower",
    "data": "data.train",
    "images": "data.images",
    "split": "data.split",
    "count": "data.count",
    "val": "data.val",
    "val_images": "data.val_images",
    "val_split": "data.val_split",
    "val_count": "data.val_count",
    "reward_images": "data.reward_images",
    "allow_missing": "data.allow_missing",
    "steps": "training.steps",
    "epochs": "training.epochs",
    "batch_size": "training.batch_size",
    "accumulation": "training.accumulation",
    "lr": "training.lr",
    "candidates": "optimizer.candidates",
    "baseline": "optimizer.baseline",
    "monitor": "reward.monitors",
    "reward_every": "reward.every",
    "judge": "diagnostics.judge",
    "diagnostics": "diagnostics.enabled",
    "metrics": "evaluation.metrics",
    "eval_every": "evaluation.every",
    "best": "evaluation.best",
    "patience": "evaluation.patience",
    "save_every": "checkpoint.every",
    "track": "logging.trackers",
    "workers": "data.workers",
    "device": "device",
    "precision": "training.precision",
    "seed": "seed",
    "plugin": "plugins",
    "download": "download",
}


def flag_values(options: Mapping[str, Any], flags: Mapping[str, str] = FLAGS) -> dict[str, Any]:
    """The settings that the given flags stand for.

    Args:
        options: of the command.
        flags: from an option's name to that of its setting.
    """
    found: dict[str, Any] = {}
    for flag, name in flags.items():
        value = options.get(flag)
        if value is None or value == ():
            continue
        found = merged(found, nested(name, list(value) if isinstance(value, tuple) else value))
    return found


def values_of(
    flags: dict[str, Any], recipe: str | None, config: Path | None, sets: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Recipe, file, flags and ``--set`` on top of each other, and what was taken without being asked.

    With no recipe and no data the recipe ``scenes-OPTIMIZER`` is taken.

    Raises:
        InputError: an unknown recipe, an unreadable file, or a malformed setting.
    """
    given = given_values(flags, config, sets)
    notes: list[str] = []
    if recipe is not None:
        base = read_recipe(recipe)
    else:
        base, notes = _scenes(given)
    values, unevaluated = without_val(with_lengths(base, given))
    if unevaluated:
        notes.append("no held-out items are named (--val): nothing is evaluated, and the last captioner is the result")
    return values, notes


def given_values(flags: dict[str, Any], config: Path | None, sets: Sequence[str]) -> dict[str, Any]:
    """What was asked for beside a recipe: the file, flags over it, ``--set`` over both.

    Raises:
        InputError: an unreadable file, or a malformed setting.
    """
    return merged(merged(read_yaml(config) if config is not None else {}, flags), settings(sets))


def without_val(values: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """No held-out scenes where other data are learned from and none held out are named; and whether it is so."""
    named = values.get("data", {})
    if isinstance(named, Mapping) and not str(named.get("train", "scenes")).startswith("scenes") and "val" not in named:
        return merged(values, {"data": {"val": None}}), True
    return values, False


def _scenes(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    data = given.get("data", {})
    if isinstance(data, Mapping) and data.get("train") is not None:
        return {}, []
    optimizer = given.get("optimizer", {})
    name = optimizer.get("name", "xe") if isinstance(optimizer, Mapping) else "xe"
    recipe = f"scenes-{name}"
    if recipe not in recipe_names():
        return {}, []
    return read_recipe(recipe), [f"no data is named: training on the embedded scenes world with the recipe {recipe}"]


def with_lengths(base: Mapping[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Both together, where steps given in place of a recipe's epochs (or the reverse) win.

    Raises:
        InputError: both are given at once.
    """
    training = given.get("training", {})
    if isinstance(training, Mapping) and training.get("steps") is not None and training.get("epochs") is not None:
        raise InputError("give either --steps or --epochs")
    values = merged(base, given)
    for one, other in (("steps", "epochs"), ("epochs", "steps")):
        if isinstance(training, Mapping) and training.get(one) is not None:
            values = merged(values, {"training": {other: None}})
    return values
