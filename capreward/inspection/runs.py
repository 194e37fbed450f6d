"""Views of the folders of training and tuning runs, and of their configurations."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from capreward.errors import InputError
from capreward.inspection.views import View, command_text, count_text

CONFIG, METRICS = "config.yaml", "metrics.jsonl"
RECIPES = {"train": "trainers.recipes", "tune": "trainers.tuning.recipes"}
_SHOWN = ("data.train", "data.val", "reward.expression", "base", "captioner.init", "training.steps", "training.lr")


def is_run(folder: Path) -> bool:
    """Return whether a folder is the folder of a run."""
    return (folder / CONFIG).is_file() and ((folder / METRICS).exists() or (folder / "checkpoints").is_dir())


def run_view(path: str) -> View:
    """Return the view of the folder of a run: its configuration, its progress and its latest figures.

    No file that the configuration names is opened.

    Raises:
        InputError: If the configuration cannot be read.
    """
    folder = Path(path)
    config = read_mapping(folder / CONFIG)
    command = command_of(config, str(folder / CONFIG))
    name = _method_name(config, command)
    rows, torn = _read_metrics(folder / METRICS)
    steps = [row["step"] for row in rows if isinstance(row.get("step"), int)]
    kept = [part for part in ("best", "last") if (folder / part).is_dir()]
    checkpoints = sorted(p.name for p in folder.glob("checkpoints/step-*"))
    wanted = _setting(config, "training.steps")
    done = f"{max(steps, default=0):,} of {wanted:,}" if isinstance(wanted, int) else f"{max(steps, default=0):,}"
    line = (
        f"{path}: run of capreward {command} ({name}), {done} steps, {count_text(len(checkpoints), 'checkpoint')}"
        f"{', ' if kept else ''}{' and '.join(kept)}"
    )
    table = tuple({"what": key, "value": value} for key, value in _main_settings(config, command).items())
    figures = {key: value for row in _latest_figures(rows) for key, value in row.items()}
    table += tuple({"what": key, "value": f"{value:.6g}"} for key, value in figures.items())
    notes = (f"{count_text(torn, 'line')} of {folder / METRICS} cannot be read",) if torn else ()
    facts = {"command": command, "name": name, "step": max(steps, default=0), "config": config, "figures": figures}
    return View("run", line, table, _run_uses(path, config, command, kept), notes, facts)


def configuration_view(path: str, text: str | None = None) -> View:
    """Return the view of a configuration in YAML; no file that it names is opened.

    Args:
        path: The file, or the name of a recipe.
        text: The text of the recipe; None reads the file.

    Raises:
        InputError: If the text is no configuration of a run.
    """
    config = read_mapping(Path(path)) if text is None else parse_mapping(text, path)
    command = command_of(config, path)
    what = "recipe" if text is not None else "configuration"
    rows = tuple({"what": key, "value": value} for key, value in _main_settings(config, command).items())
    notes = [" ".join(str(config["about"]).split())] if config.get("about") else []
    notes += [f"differs from what is published: {one}" for one in config.get("departures") or []]
    if config.get("plugins"):
        notes.append("it names plugins, which are Python files that would run; read them first")
    option = "--recipe" if text is not None else "--config"
    uses = [(command, command_text(command, option, path, "--run", "FOLDER"))]
    if command == "train":
        uses.append(("check it", command_text(command, option, path, "--run", "FOLDER", "--dry-run")))
    line = f"{path}: {what} of capreward {command} ({_method_name(config, command)})"
    return View(what, line, rows, tuple(uses), tuple(notes), {"command": command, "config": config})


def recipe_text(name: str) -> str | None:
    """Return the text of a recipe of capreward; None if there is no recipe of that name."""
    if not name or not set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-"):
        return None
    for package in RECIPES.values():
        try:
            found = files(package).joinpath(f"{name}.yaml")
        except ModuleNotFoundError:
            continue  # the package of the trainers is not installed
        if found.is_file():
            return found.read_text(encoding="utf-8")
    return None


def command_of(config: Mapping[str, Any], where: str) -> str:
    """Return the command of a configuration, ``train`` or ``tune``, by the keys that it has.

    Args:
        config: The configuration.
        where: The file, for messages.

    Raises:
        InputError: If it is a configuration of neither.
    """
    if "objective" in config:
        return "tune"
    if {"optimizer", "captioner", "reward"} & config.keys():
        return "train"
    raise InputError(f"{where} is no configuration of capreward train or tune: it has neither optimizer nor objective")


def read_mapping(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Raises:
        InputError: If the file cannot be read, or if it holds no mapping.
    """
    try:
        return parse_mapping(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is no UTF-8 text") from error


def parse_mapping(text: str, where: str) -> dict[str, Any]:
    """Parse the mapping in a text of YAML.

    Args:
        text: The text.
        where: The file, for messages.

    Raises:
        InputError: If the text is no valid YAML, or if it holds no mapping.
    """
    import yaml

    try:
        found = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{where} is no valid YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(found, dict):
        raise InputError(f"{where} holds no keys and values, as a configuration does")
    return {str(key): value for key, value in found.items()}


def _method_name(config: Mapping[str, Any], command: str) -> str:
    chosen = config.get("objective" if command == "tune" else "optimizer")
    return str(chosen.get("name", "?")) if isinstance(chosen, dict) else str(chosen)


def _setting(config: Mapping[str, Any], name: str) -> Any:
    value: Any = config
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _main_settings(config: Mapping[str, Any], command: str) -> dict[str, str]:
    """Return the most important settings, by their dotted names."""
    named = {name: _setting(config, name) for name in _SHOWN}
    chosen = "objective" if command == "tune" else "optimizer"
    return {chosen: _method_name(config, command), **{k: str(v) for k, v in named.items() if v is not None}}


def _read_metrics(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the rows of a run's log, and the number of lines that cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return [], 0  # the run has not taken a step yet
    rows, torn = [], 0
    for line in lines:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            torn += 1
    return rows, torn


def _latest_figures(rows: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Return the latest figures of each kind of row, such as training and evaluation, under names with that kind."""
    latest = {str(row.get("kind")): row for row in rows}
    return [
        {
            f"{kind} {key}": float(value)
            for key, value in row.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and key != "step"
        }
        for kind, row in latest.items()
    ]


def _run_uses(path: str, config: Mapping[str, Any], command: str, kept: list[str]) -> tuple[tuple[str, str], ...]:
    if command == "tune":
        tuned = _tuned_uses(f"{path.rstrip('/')}/{kept[0]}", config) if kept else ()
        return (*tuned, ("go on", command_text("tune", "--run", path)))
    captioning = ("caption", command_text("caption", "IMAGES", "--captioner", path, "-o", "captions.json"))
    return (
        *([captioning, ("evaluate", command_text("evaluate", path))] if kept else []),
        ("report", command_text("report", path, "-o", "report.html")),
        ("go on", command_text("train", "--run", path)),
    )


def _tuned_uses(weights: str, config: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    from capreward.inspection.weights import grammar_uses

    if _method_name(config, "tune") == "grammar":
        return grammar_uses(weights)
    lora = _setting(config, "objective.adapt") == "lora"
    metric = f"{'pacspp' if lora else 'pacs'}(checkpoint={weights})"
    scored = command_text("score", "CAPTIONS", "-i", "IMAGES", "-m", metric)
    return (("metric", scored), ("reward", command_text("train", "--reward", metric)))
