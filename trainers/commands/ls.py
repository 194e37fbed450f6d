"""What of the trainers can be named: rows for ``capreward ls``."""

from __future__ import annotations

from trainers.optimizers.base import OPTIMIZERS
from trainers.runs.config_files import RECIPES, read_recipe, recipe_names
from trainers.tuning.objective import OBJECTIVES
from trainers.tuning.objective import RECIPES as TUNING


def optimizers() -> list[dict[str, str]]:
    """Return the names of the optimizers and what they are."""
    return [{"name": name, "summary": summary} for name, (_, summary) in OPTIMIZERS.items()]


def objectives() -> list[dict[str, str]]:
    """Return the names of the objectives of ``capreward tune`` and what they are."""
    return [{"name": name, "summary": summary} for name, (_, summary) in OBJECTIVES.items()]


def recipes() -> list[dict[str, str]]:
    """Return the names of the recipes and what they are; those of ``capreward train`` come first."""
    return [
        {"name": name, "summary": " ".join(str(read_recipe(name, package)["about"]).split()), "for": command}
        for command, package in (("train", RECIPES), ("tune", TUNING))
        for name in recipe_names(package)
    ]
