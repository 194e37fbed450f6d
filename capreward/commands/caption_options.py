"""The options that say how files of captions and of references are read, and the reading itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from capreward.commands.options import CommandOptions, F
from capreward.errors import InputError
from capreward.scoring import DEFAULT_TOKENIZER

if TYPE_CHECKING:
    from capreward.data import CaptionTable, References


@dataclass(frozen=True)
class ReadingOptions(CommandOptions):
    """The options of ``reading_of_captions`` say how a file of captions is read.

    Attributes:
        format: The captions are read in the format of this name; None leaves the format to be recognised.
        id_column: The column of this name holds the ids of the images; None means one of the usual names.
        caption_column: The columns of these names hold the captions; an empty tuple means the usual names.
    """

    format: str | None
    id_column: str | None
    caption_column: tuple[str, ...]


@dataclass(frozen=True)
class InputOptions(ReadingOptions):
    """The options of ``input_options`` say how files of captions and of references are read and tokenized.

    Attributes:
        references_format: The references are read in the format of this name; None leaves the format to be recognised.
        references_id_column: The column of this name holds the ids of the images in the references; None means one of
            the usual names.
        references_caption_column: The columns of these names hold the references; an empty tuple means the usual names.
        split: The references of this split are read, such as those of ``test``; None reads a file that has no splits.
        tokenizer: Captions and references go through the tokenizer of this name.
    """

    references_format: str | None
    references_id_column: str | None
    references_caption_column: tuple[str, ...]
    split: str | None
    tokenizer: str


def input_options(command: F) -> F:
    """Add the options that say how caption files are read and tokenized, which are those of ``InputOptions``."""
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
    """Return the options that say how one kind of file is read.

    Args:
        prefix: The beginning of the names of the options, such as ``"references-"``.
        what: The help texts say by these words what the file holds.
    """
    return [
        click.option(
            f"--{prefix}format", help=f"The format of {what}, if it is not recognised (capreward ls formats)."
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
    """Add the options that say how a file of captions is read, which are those of ``ReadingOptions``."""
    for option in reversed(reading_options()):
        command = option(command)
    return command


def split_option(what: str) -> Callable[[F], F]:
    """Return the option that chooses a split of a file that has several."""
    return click.option("--split", help=f"The split of the {what}, such as test; train+restval joins two.")


def read_caption_file(
    path: Path,
    options: ReadingOptions,
    *,
    image_column: str | None = None,
    split: str | None = None,
    paired: bool = False,
) -> CaptionTable:
    """Read a file of captions as the options say.

    Args:
        path: The file.
        options: The options say which format and which columns the file has.
        image_column: The name of the column of the file that holds pictures; None means one of the usual names.
        split: The split that is read; None reads a file that has no splits.
        paired: True if no other file has to match, so that rows without ids are numbered.

    Raises:
        InputError: The file cannot be used.
    """
    from capreward.data import read_captions

    return read_captions(
        path,
        format=options.format,
        split=split,
        id_column=options.id_column,
        caption_column=options.caption_column,
        image_column=image_column,
        paired=paired,
    )


def read_reference_files(paths: Sequence[Path], options: InputOptions) -> References:
    """Read files of references as the options say.

    Raises:
        InputError: A file cannot be used.
    """
    from capreward.data import read_references

    return read_references(
        paths,
        format=options.references_format,
        split=options.split,
        id_column=options.references_id_column,
        caption_column=options.references_caption_column,
    )


def read_captions_and_references(
    path: Path, options: InputOptions, *, image_column: str | None
) -> tuple[CaptionTable, References]:
    """Read one file that holds both captions and references as the options say.

    Args:
        path: The file.
        options: The options of the captions and those of the references must agree.
        image_column: The name of the column of the file that holds pictures; None means one of the usual names.

    Raises:
        InputError: The file cannot be used, or the options of the captions and of the references contradict each other.
    """
    from capreward.data import read_captions_with_references

    return read_captions_with_references(
        path,
        format=_agreed("format", options.format, options.references_format),
        id_column=_agreed("id-column", options.id_column, options.references_id_column),
        split=options.split,
        caption_column=options.caption_column,
        references_column=options.references_caption_column,
        image_column=image_column,
    )


def _agreed(flag: str, of_captions: str | None, of_references: str | None) -> str | None:
    """Return the one value that an option of the captions and its like of the references have."""
    if None not in (of_captions, of_references) and of_captions != of_references:
        raise InputError(
            f"captions and references are one file, but --{flag} and --references-{flag} say {of_captions} and "
            f"{of_references}; give one"
        )
    return of_references if of_captions is None else of_captions
