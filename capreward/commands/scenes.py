"""``capreward scenes``: the pictures and captions of the embedded world as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from capreward.atomic_files import write_beside
from capreward.command_classes import Command
from capreward.errors import InputError

SHOWN = 8  # pictures on a contact sheet


@click.command(cls=Command)
@click.argument("out_dir", type=click.Path(path_type=Path))
@click.option("--split", default="test", show_default=True, help="train, val or test.")
@click.option("--count", default=1000, show_default=True, type=click.IntRange(min=1), help="How many pictures.")
@click.option("--start", default=0, show_default=True, type=click.IntRange(min=0), help="Number of the first one.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Another world of its kind.")
@click.option(
    "--captions", type=click.Path(path_type=Path), help="JSON file of the captions [default: OUT_DIR/captions.json]."
)
@click.option(
    "--contact-sheet", "sheet", type=click.Path(path_type=Path), help=f"PNG file of the first {SHOWN} with captions."
)
def scenes(
    out_dir: Path, split: str, count: int, start: int, seed: int, captions: Path | None, sheet: Path | None
) -> None:
    """Write pictures of the embedded world as PNG files, and their five captions each as references.

    \b
    capreward scenes out --split test --count 100 --contact-sheet sheet.png
    capreward score mine.json --references scenes --images scenes
    """
    captions = captions or out_dir / "captions.json"
    _check(out_dir, captions, sheet)
    from capreward.data.scenes import scene

    chosen = [scene(split, index, seed) for index in range(start, start + count)]
    _make(out_dir)
    from PIL import Image

    for each in chosen:
        _save(Image.fromarray(each.draw()), out_dir / f"{each.key}.png")
    references = json.dumps({each.key: each.captions for each in chosen}, indent=1)
    write_beside(captions, lambda path: _text(path, references))
    if sheet is not None:
        from capreward.data.scenes.contact_sheet import contact_sheet

        _save(contact_sheet(chosen[:SHOWN]), sheet)
    more = "" if sheet is None else f", contact sheet in {sheet}"
    click.echo(
        f"{out_dir}: {count:,} pictures of scenes ({split}, seed {seed}), captions in {captions}{more}", err=True
    )


def _check(out_dir: Path, captions: Path, sheet: Path | None) -> None:
    """Refuse files that cannot be written, before any file is written."""
    if out_dir.exists() and not out_dir.is_dir():
        raise InputError(f"{out_dir} is a file; name a folder for the pictures")
    for option, path in (("--captions", captions), ("--contact-sheet", sheet)):
        if path is not None and path.parent != out_dir and not path.parent.is_dir():
            raise InputError(f"{option} {path}: there is no folder {path.parent}")
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise InputError(f"--contact-sheet {sheet}: the name must end in .png")


def _make(folder: Path) -> None:
    """Make a folder, unless it is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error


def _save(image: Any, path: Path) -> None:
    """Write a picture as a PNG file, whole or not at all."""
    write_beside(path, lambda beside: image.save(beside, format="PNG"))


def _text(path: Path, text: str) -> None:
    """Write a text and the end of its line into a file."""
    path.write_text(text + "\n", encoding="utf-8")
