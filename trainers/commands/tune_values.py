"""Flags, recipes and files of ``capreward tune`` to one set of values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from capreward.errors import InputError
from trainers.commands.train_values import FLAGS as TRAIN_FLAGS
from trainers.commands.train_values import given_values, with_lengths, without_val
from trainers.runs.config_files import read_recipe, recipe_names
from trainers.tuning.objective import OBJECTIVES, RECIPES

_SHARED = (
    "data", "images", "split", "count", "val", "val_images", "val_split", "val_count", "allow_missing", "steps",
    "epochs", "batch_size", "lr", "eval_every", "best", "patience", "save_every", "track", "workers", "device",
    "precision", "seed", "download",
)  # fmt: skip
FLAGS = {
    **{name: TRAIN_FLAGS[name] for name in _SHARED},
    "base": "base",
    "prompt": "prompt",
    "slim": "slim",
    "fp16": "fp16",
    "more_captions": "data.more_captions",
    "more_images": "data.more_images",
}
BETTER = {"grammar": "grammar-better", "pac": "pac"}  # of data that are named without a recipe


def values_of(
    flags: dict[str, Any], recipe: str | None, config: Path | None, sets: Sequence[str]
) -> tuple[dict[str, Any], list[str]]:
    """Recipe, file, flags and ``--set`` on top of each other, and what was taken without being asked.

    Where no data are named and the recipe's are not here, it is the recipe ``scenes-OBJECTIVE`` instead. Data that are
    named replace all that the recipe says of data. Without a recipe it is ``grammar-better``, or that of the objective,
    unless a file says what it wants.

    Raises:
        InputError: an unknown recipe, an unreadable file, or a malformed setting.
    """
    given = given_values(flags, config, sets)
    base, notes = ({}, []) if config is not None and recipe is None and _named(given) else _base(given, recipe)
    values, unevaluated = without_val(with_lengths(base, given))
    if unevaluated:
        notes.append("no held-out items are named (--val): nothing is evaluated, and the last weights are the result")
    return values, notes


def _base(given: Mapping[str, Any], recipe: str | None) -> tuple[dict[str, Any], list[str]]:
    """The values to begin with."""
    name = recipe if recipe is not None else BETTER.get(_objective(given), "grammar-better")
    base = read_recipe(name, RECIPES)
    if _named(given) is not None:
        notes = [] if recipe is not None else [f"no recipe is named: taking {name}"]
        own = str(_named(base))
        same = own.startswith("scenes") and str(_named(given)).startswith("scenes")
        return base if same else {key: value for key, value in base.items() if key != "data"}, notes
    if _is_here(str(_named(base))) and recipe is not None:
        return base, []
    instead = f"scenes-{_objective(base)}"
    if instead not in recipe_names(RECIPES):
        raise InputError(f"the recipe {name} has no data here; name some with --data and --images")
    missing = "" if recipe is None else f" and {_named(base)} is not here"
    told = f"no data is named{missing}: tuning on the embedded scenes world with the recipe {instead}"
    return read_recipe(instead, RECIPES), [told]


def _objective(values: Mapping[str, Any]) -> str:
    found = values.get("objective", {})
    name = str(found.get("name", "grammar")) if isinstance(found, Mapping) else "grammar"
    return name if name in OBJECTIVES else "grammar"


def _named(values: Mapping[str, Any]) -> Any:
    """The training data that values name, or None."""
    data = values.get("data", {})
    return data.get("train") if isinstance(data, Mapping) else None


def _is_here(source: str) -> bool:
    return source.startswith("scenes") or Path(source.partition(".json:")[0]).exists() or Path(source).exists()
