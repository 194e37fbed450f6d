"""What of the trainers can be named: rows for ``capreward ls``."""

from __future__ import annotations

from trainers.config_reading import read_recipe, recipe_names
from trainers.optimizers import OPTIMIZERS


def optimizers() -> list[dict[str, str]]:
    """Optimizers and what they are."""
    return [{"name": name, "summary": summary} for name, (_, summary) in OPTIMIZERS.items()]


def recipes() -> list[dict[str, str]]:
    """Recipes and what they are."""
    return [{"name": name, "summary": " ".join(str(read_recipe(name)["about"]).split())} for name in recipe_names()]
