"""``capreward look``: how a file is understood, and what it can be used for."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from capreward.command_classes import Command
from capreward.commands.caption_options import reading_of_captions, split_option
from capreward.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from capreward.inspection.views import Readings, View


@click.command(cls=Command)
@click.argument("file")
@click.option("-n", "--rows", default=5, show_default=True, type=click.IntRange(0), help="Show the first so many.")
@reading_of_captions
@click.option("--image-column", help="The column of pictures or picture files, in a table.")
@split_option("captions")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def look(file: str, as_json: bool, **options: Any) -> None:
    """Show how FILE is understood and what it can be used for: each use with the command to type.

    FILE is whatever a command takes: captions and references, tables with pictures, tar shards, folders of pictures,
    feature stores, document frequencies, checkpoints, runs, configurations, recipes, vocabularies, scenes:test. Nothing
    in it is run. Where FILE cannot be used in one way, the reason is told; the exit status is 2 if it has no use.

    \b
    capreward look captions.json
    capreward look data.parquet --rows 3
    capreward look "train-{000..007}.tar"
    capreward look runs/dico-pacs --json
    """
    from capreward.inspection.identification import identify_file
    from capreward.inspection.views import LookOptions

    seen = identify_file(file, LookOptions(**options))
    if as_json:
        click.echo(json.dumps(seen.to_dict(), indent=2, ensure_ascii=False, default=str))
    else:
        _show(seen)
    if not seen.views:
        _refuse(seen)


def _refuse(seen: Readings) -> None:
    """Say on standard error why no reading works, and leave with the exit status of bad input.

    Raises:
        InputError: One and the same sentence refuses all readings.
    """
    refusals = _roles_by_refusal(seen.refusals)
    if len(refusals) == 1:
        raise InputError(next(iter(refusals.values())))
    click.echo(f"Error: {seen.file} is understood in none of {len(refusals)} ways", err=True)
    for role, sentence in refusals.items():
        click.echo(f"  not {role}: {sentence}", err=True)
    sys.exit(2)


def _show(seen: Readings) -> None:
    """Show the views, one below the other, on standard output."""
    from rich.console import Console
    from rich.text import Text

    wide = None if sys.stdout.isatty() else 1000  # a file has no width to fit into
    console = Console(highlight=False, width=wide, soft_wrap=True)
    printed: list[list[list[str]]] = []
    for view in seen.views:
        console.print(Text(f"{view.role}: {view.line}", style="bold"))
        texts = _texts(view)
        if texts not in printed:
            _print_rows(view, console)
        printed.append(texts)
        for note in view.notes:
            console.print(Text(f"  note: {note}", style="yellow"))
        width = max((len(purpose) for purpose, _ in view.uses), default=0)
        for purpose, command in view.uses:
            console.print(Text(f"  {purpose:<{width}}  ", style="dim").append(command, style="not dim"))
    if seen.views:
        for role, sentence in _roles_by_refusal(seen.refusals).items():
            console.print(Text(f"not {role}: {sentence}", style="dim"))


def _texts(view: View) -> list[list[str]]:
    """Return the rows as bare texts, which are the same for captions and for references of which each image has one."""
    return [
        [t for value in row.values() for t in (value if isinstance(value, list) else [str(value)])] for row in view.rows
    ]


def _print_rows(view: View, console: Console) -> None:
    """Print the first rows as a table; the members of a list stand one below the other."""
    from rich.table import Table
    from rich.text import Text

    if not view.rows:
        return
    table = Table(box=None, pad_edge=True, header_style="dim")
    for name in view.rows[0]:
        table.add_column(name, overflow="fold")
    for row in view.rows:
        table.add_row(*(Text(_cell(value)) for value in row.values()))
    console.print(table, soft_wrap=False)


def _cell(value: Any) -> str:
    """Return the text of a value in a table."""
    lines = value if isinstance(value, list) else [value]
    return "\n".join(_plain(str(line)) for line in lines)


def _plain(text: str) -> str:
    """Return a text as one line of a terminal, cut where it is long."""
    text = "".join(c if c.isprintable() else " " for c in text)
    return text if len(text) <= 200 else text[:197] + "..."


def _roles_by_refusal(refusals: dict[str, str]) -> dict[str, str]:
    """Return each sentence once, under the names of all roles that it refuses."""
    roles: dict[str, list[str]] = {}
    for role, sentence in refusals.items():
        roles.setdefault(sentence, []).append(role)
    return {" or ".join(names): sentence for sentence, names in roles.items()}
