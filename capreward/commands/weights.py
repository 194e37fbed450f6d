"""``capreward weights``: what the evaluators need, what is here, and keeping it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from capreward.command_classes import Group
from capreward.errors import InputError


@click.group(cls=Group, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
@click.pass_context
def weights(ctx: click.Context, as_json: bool) -> None:
    """List the weights that evaluators need, where they were found, and where their authors publish them.

    They are looked for in the folders of CAPREWARD_WEIGHTS, then among what "capreward weights add" keeps.

    \b
    capreward weights
    capreward weights get clips
    capreward weights add Downloads/clip_ViT-B-32.pth
    capreward weights add my-tuned.pth --as pacs
    """
    if ctx.invoked_subcommand is not None:
        return
    from capreward.encoders.weights.user_library import status

    rows = status()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        click.echo(f"{', '.join(row['evaluators'])} ({row['variant']})  {row['file']}")
        if row["found"] is None:
            click.echo(f"    not found; published at {row['published']}")
        else:
            known = row["published_sha256"]
            same = "as published" if known == row["sha256"] else "not the published file"
            verdict = "" if known is None else f", {same}"
            click.echo(f"    {row['found']} ({row['origin']})\n    sha256 {row['sha256']}{verdict}")
    shipped = "scenes-clip, scenes-pacs, scenes-grammar; scenes-judge"
    click.echo(f"clips, pacs, grammar on pictures of scenes  {shipped}\n    ship with capreward")


@weights.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--as", "name", metavar="EVALUATOR", help="What it is for, if its name does not tell: pacs, pacs:L/14.")
@click.option("--drop-unknown", is_flag=True, help="Leave out objects that are neither tensors nor plain containers.")
def add(path: Path, name: str | None, drop_unknown: bool) -> None:
    """Check a weights file, or a folder of capreward convert, and keep a copy for the evaluators.

    With --drop-unknown a file is kept as the folder that capreward convert --drop-unknown makes of it.
    """
    from capreward.encoders.weights import user_library
    from capreward.evaluators import evaluators

    if name is not None:
        family, colon, variant = name.partition(":")
        name = f"{evaluators.find(family) or family}{colon}{variant}"
    _say(user_library.add(path, name, drop_unknown=drop_unknown))


@weights.command()
@click.argument("name", metavar="EVALUATOR")
@click.option("--variant", help="B/32 (default) or L/14.")
@click.option("--download", is_flag=True, hidden=True, help="What get does anyway.")
def get(name: str, variant: str | None, download: bool) -> None:
    """Fetch an evaluator's weights from their authors, where these publish a plain address, and keep them."""
    from capreward.encoders.weights import user_library
    from capreward.encoders.weights.catalogue import entry_of, weights_of_entry
    from capreward.evaluators import evaluators

    entry = entry_of(evaluators.find(name) or name, variant)
    file = entry.files[0]
    there = weights_of_entry(entry)
    if there is not None:
        click.echo(f"{entry.title} is here already: {there.path}", err=True)
        return
    if entry.url is None:
        raise InputError(
            f"{file} has no plain address; open {entry.published} in a browser, then type capreward weights add {file}"
        )
    from capreward.commands.progress import Bar

    with Bar(1) as bar:
        bar.start(file)
        done = user_library.fetch(entry, entry.url, lambda read, total: bar.step("fetching", read, total))
    _say(done)


def _say(done: Any) -> None:
    """Say on standard error which weights are kept where."""
    state = "kept as" if done.new else "is already kept as"
    click.echo(f"{done.entry.title}: {state} {done.path}, sha256 {done.sha256}", err=True)
