"""``capreward ls``: what there is to name."""

from __future__ import annotations

import json
from pathlib import Path

import click

from capreward.command_classes import Command, import_own
from capreward.commands.options import plugin_option
from capreward.plugins import load_plugins

KINDS = ("evaluators", "optimizers", "objectives", "recipes", "tokenizers", "formats")
TRAINERS = {
    kind: f"trainers.commands.ls:{kind}" for kind in ("optimizers", "objectives", "recipes")
}  # imported when asked


@click.command(cls=Command)
@click.argument("kind", type=click.Choice(KINDS), default="evaluators")
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def ls(kind: str, plugin: tuple[Path, ...], as_json: bool) -> None:
    """List evaluators (the default), optimizers, objectives, recipes, tokenizers or caption-file formats.

    \b
    capreward ls evaluators
    capreward ls recipes
    capreward ls formats --json
    """
    load_plugins(plugin)
    rows = _rows(kind)
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    width = max(len(r["name"]) for r in rows)
    above = ""
    for row in rows:
        if row.get("for", "") != above:
            above = row["for"]
            click.echo(f"of capreward {above}:")
        more = f"  needs {row['needs']}" if row.get("needs") else ""
        origin = f"  ({row['from']})" if row.get("from", "capreward") != "capreward" else ""
        click.echo(f"{row['name']:<{width}}  {row['summary']}{more}{origin}")


def _rows(kind: str) -> list[dict[str, str]]:
    """Return the names of one kind with what they are, for people and machines alike."""
    if kind in TRAINERS:
        module, _, attribute = TRAINERS[kind].partition(":")
        found: list[dict[str, str]] = getattr(import_own(module), attribute)()
        return found
    return {"evaluators": _evaluators, "tokenizers": _tokenizers, "formats": _formats}[kind]()


def _evaluators() -> list[dict[str, str]]:
    """Return the names of the evaluators, what they are, what they need and whence they come."""
    from capreward.evaluators import evaluators

    entries = [(name, evaluators[name]) for name in evaluators]
    return [{"name": n, "summary": e.summary, "needs": " and ".join(e.needs), "from": e.origin} for n, e in entries]


def _tokenizers() -> list[dict[str, str]]:
    """Return the names of the tokenizers and what they are."""
    from capreward.text.tokenizers import SUMMARIES

    return [{"name": name, "summary": summary} for name, summary in SUMMARIES.items()]


def _formats() -> list[dict[str, str]]:
    """Return the names of the formats of caption files and what they are."""
    from capreward.data import format_summaries

    return [{"name": name, "summary": summary} for name, summary in format_summaries().items()]
