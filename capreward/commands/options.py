"""Options that several commands share."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from capreward.errors import InputError
from capreward.scoring import DEFAULT_TOKENIZER

F = TypeVar("F", bound=Callable[..., Any])


plugin_option = click.option(
    "--plugin", multiple=True, type=click.Path(path_type=Path), help="Python file of @reward functions."
)


def input_options(command: F) -> F:
    """Add the options that say how caption files are read and tokenized."""
    table = "CSV, TSV, JSONL or Parquet"
    for option in reversed(
        [
            click.option(
                "--format", "format_", help="Format of the captions, if not recognised (capreward ls formats)."
            ),
            click.option("--id-column", help=f"Column of the image ids in {table}."),
            click.option("--caption-column", help=f"Column of the captions in {table}."),
            click.option("--references-format", help="Format of the references, if not recognised."),
            click.option("--references-id-column", help="Their column of image ids."),
            click.option("--references-caption-column", help="Their column of captions."),
            click.option("--split", help="Split of Karpathy references: test, val, train, restval or train+restval."),
            click.option(
                "--tokenizer", default=DEFAULT_TOKENIZER, show_default=True, help="See capreward ls tokenizers."
            ),
        ]
    ):
        command = option(command)
    return command


def image_options(command: F) -> F:
    """Add the options that say where the images are and how they are encoded."""
    for option in reversed(
        [
            click.option(
                "-i", "--images", help="Folder, tar shards (a-{00..07}.tar), feature store, or scenes[:SPLIT]."
            ),
            click.option("--image-column", help="Column of picture files in a table of captions."),
            click.option("--skip-broken", is_flag=True, help="Leave out images that cannot be read."),
            *encoder_options(),
        ]
    ):
        command = option(command)
    return command


def weights_options(command: F) -> F:
    """Add the options that name the weights of an encoder."""
    for option in reversed(
        [
            click.option(
                "--for",
                "family",
                type=click.Choice(["clips", "pacs", "pacspp", "grammar"]),
                default="clips",
                show_default=True,
                help="The evaluator whose weights to use.",
            ),
            click.option("--variant", help="Of its weights: B/32 or L/14."),
            click.option(
                "--checkpoint",
                "--model",
                help="Other weights: a file, a folder, MODEL:TAG, hf-hub:ORG/NAME, scenes-clip.",
            ),
        ]
    ):
        command = option(command)
    return command


def encoder_options() -> list[Callable[[F], F]]:
    """The options that say how an encoder runs."""
    return [
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1."),
        click.option(
            "--precision",
            default="fp32",
            show_default=True,
            type=click.Choice(["fp32", "bf16", "fp16", "auto"]),
            help="Of the encoder; published numbers are fp32.",
        ),
        click.option("--batch-size", type=click.IntRange(1), help="Images per batch; found by trial by default."),
        click.option("--workers", type=click.IntRange(0), help="Processes that decode images; as many as help."),
        click.option("--download", is_flag=True, help="Fetch published weights that are not here."),
    ]


def encoding(options: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of ``load_list`` for evaluators with an encoder."""
    names = ("device", "precision", "batch_size", "workers")
    flags = {name: options[name] or None for name in ("skip_broken", "download")}
    return {**{name: options[name] for name in names}, **flags}


def reading(options: dict[str, Any], *, of_references: bool) -> dict[str, Any]:
    """Keyword arguments of ``read_captions`` or ``read_references``."""
    if of_references:
        return {
            "format": options["references_format"],
            "split": options["split"],
            "id_column": options["references_id_column"],
            "caption_column": options["references_caption_column"],
        }
    return {
        "format": options["format_"],
        "id_column": options["id_column"],
        "caption_column": options["caption_column"],
        "image_column": options["image_column"],
    }


def plugins(paths: Sequence[Path]) -> None:
    """Import Python files so that their ``@reward`` functions are registered.

    Raises:
        InputError: no such file, or an error while it runs.
    """
    for path in paths:
        if not path.is_file():
            raise InputError(f"--plugin {path}: there is no such file")
        name = f"capreward_plugin_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise InputError(f"--plugin {path} is no Python file; its name must end in .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"--plugin {path} fails: {type(error).__name__}: {error}") from error
