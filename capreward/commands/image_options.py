"""The options that say where images are, and which encoder looks at them and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import click

from capreward.commands.options import CommandOptions, F


@dataclass(frozen=True)
class EncoderOptions(CommandOptions):
    """The options of ``encoder_options`` say how an encoder runs.

    Attributes:
        device: The encoder runs on this device, which torch knows by this name; ``auto`` takes a GPU if there is one.
        precision: The encoder computes with this precision: ``fp32``, ``bf16``, ``fp16`` or ``auto``.
        batch_size: The encoder takes so many images at a time; None finds the number by trial.
        workers: So many processes decode images; None takes as many as help.
        download: True allows capreward to fetch published weights that are not on this computer.
    """

    device: str
    precision: str
    batch_size: int | None
    workers: int | None
    download: bool


@dataclass(frozen=True)
class ImageOptions(EncoderOptions):
    """The options of ``image_options`` say where the images are, and how they are encoded.

    Attributes:
        images: The images are looked for in these places, in this order; an empty tuple leaves it to the caption file
            to name or hold them.
        image_column: The column of this name holds pictures in a table; None means one of the usual names.
        images_id_column: The column of this name holds the ids in a table that is one of ``images``; None means one of
            the usual names.
        skip_broken: True leaves out images that cannot be read, and False refuses them.
    """

    images: tuple[str, ...]
    image_column: str | None
    images_id_column: str | None
    skip_broken: bool


@dataclass(frozen=True)
class WeightsOptions(CommandOptions):
    """The options of ``weights_options`` say which weights an encoder has.

    Attributes:
        family: The encoder has the weights of this evaluator: ``clips``, ``pacs``, ``pacspp`` or ``grammar``.
        variant: The evaluator's CLIP has this size, ``B/32`` or ``L/14``; None means the usual size.
        checkpoint: These weights take the place of the evaluator's own; None leaves the evaluator its own.
    """

    family: str
    variant: str | None
    checkpoint: str | None


def image_options(command: F) -> F:
    """Add the options that say where the images are and how they are encoded, which are those of ``ImageOptions``."""
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
    """Add the options that name the weights of an encoder, which are those of ``WeightsOptions``."""
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
    """Return the options that say how an encoder runs, which are those of ``EncoderOptions``."""
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


def evaluator_settings(options: ImageOptions) -> dict[str, str | int]:
    """Return the keyword arguments of ``load`` and ``load_list`` that these options stand for.

    A key stands for an option that has a value; evaluators have their own defaults for the others.
    """
    settings: dict[str, str | int | None] = {
        "device": options.device,
        "precision": options.precision,
        "batch_size": options.batch_size,
        "workers": options.workers,
        "skip_broken": options.skip_broken or None,
        "download": options.download or None,
    }
    return {name: value for name, value in settings.items() if value is not None}


def names_images(options: ImageOptions) -> bool:
    """Tell whether the user says where the images are."""
    return bool(options.images) or options.image_column is not None


def image_column_of_captions(options: ImageOptions) -> str | None:
    """Return the column of picture files that the user names in the captions, and not in a table of ``--images``."""
    if options.image_column is None:
        return None
    from capreward.data.images.tables import names_table

    return None if any(map(names_table, options.images)) else options.image_column
