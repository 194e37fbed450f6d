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
