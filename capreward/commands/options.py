"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
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
    for option in reversed(
        [
            *reading_options(),
            *reading_options("references-", "the references"),
            split_option("references"),
            click.option(
                "--tokenizer", default=DEFAULT_TOKENIZER, show_default=True, help="See capreward ls tokenizers."
            ),
        ]
    ):
        command = option(command)
    return command


def reading_options(prefix: str = "", what: str = "the captions") -> list[Callable[[F], F]]:
    """The options that say how one kind of file is read.

    Args:
        prefix: before the names of the options: ``"references-"``.
        what: the file holds, for the help.
    """
    name = "format_" if not prefix else f"{prefix[:-1]}_format"
    return [
        click.option(
            f"--{prefix}format", name, help=f"The format of {what}, if it is not recognised (capreward ls formats)."
        ),
        click.option(
            f"--{prefix}id-column", help=f"The column of image ids in {what}; row takes the number of the row."
        ),
        click.option(
            f"--{prefix}caption-column",
            multiple=True,
            help=f"The column that holds {what}; repeat it for several columns.",
        ),
    ]


def reading_of_captions(command: F) -> F:
    """Add the options that say how a file of captions is read."""
    for option in reversed(reading_options()):
        command = option(command)
    return command


def split_option(what: str) -> Callable[[F], F]:
    """The option that chooses a split of a file that has several."""
    return click.option("--split", help=f"The split of the {what}, such as test; train+restval joins two.")


def image_options(command: F) -> F:
    """Add the options that say where the images are and how they are encoded."""
    for option in reversed(
        [
            click.option(
                "-i",
                "--images",
                multiple=True,
                help="Folder, tar shards (a-{00..07}.tar), table with pictures, feature store, or scenes[:SPLIT]; "
                "repeat it to search several.",
            ),
            click.option("--image-column", help="Column of pictures or picture files, in a table."),
            click.option("--images-id-column", help="Column of image ids in a table of --images; row for its rows."),
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
        "image_column": image_column_of_captions(options),
    }


def image_column_of_captions(options: dict[str, Any]) -> str | None:
    """The column of picture files that the user names in the captions, and not in a table given as ``--images``."""
    named: str | None = options["image_column"]
    if named is None:
        return None
    from capreward.data.images.tables import names_table

    images = options.get("images") or ()
    elsewhere = any(names_table(source) for source in ([images] if isinstance(images, str) else images))
    return None if elsewhere else named


def showing(options: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of ``show`` that say how pictures are read out of tables."""
    return {"image_column": options["image_column"], "id_column": options["images_id_column"]}


def reading_both(options: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of ``read_captions_with_references``, for a file that holds both.

    Raises:
        InputError: The options of the captions and of the references contradict each other.
    """
    agreed: dict[str, Any] = {}
    for name, own, other in (
        ("format", "format_", "references_format"),
        ("id_column", "id_column", "references_id_column"),
    ):
        said = {options[key] for key in (own, other) if options[key] is not None}
        if len(said) > 1:
            flags = f"--{own.strip('_').replace('_', '-')} and --{other.replace('_', '-')}"
            raise InputError(
                f"captions and references are one file, but {flags} say {options[own]} and {options[other]}; give one"
            )
        agreed[name] = next(iter(said), None)
    return {
        **agreed,
        "split": options["split"],
        "caption_column": options["caption_column"],
        "references_column": options["references_caption_column"],
        "image_column": image_column_of_captions(options),
    }
