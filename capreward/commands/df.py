"""``capreward df``: document-frequency files, what makes CIDEr a reward."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from capreward.errors import InputError


@click.group()
def df() -> None:
    """Build and show document-frequency files for CIDEr rewards."""


@df.command()
@click.argument("references", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The .npz file to write.")
@click.option("--format", "format_", help="Format of the references, if not recognised (capreward ls formats).")
@click.option("--split", help="Split of a Karpathy file: test, val, train, restval or train+restval.")
@click.option("--tokenizer", default="ptb", show_default=True, help="See capreward ls tokenizers.")
def build(references: tuple[Path, ...], output: Path, format_: str | None, split: str | None, tokenizer: str) -> None:
    """Count in how many images' references each n-gram occurs, and keep it in a file.

    \b
    capreward df build dataset_coco.json --split train+restval -o coco-train.npz
    capreward score captions.json -r refs.json -m "cider-d(df=coco-train.npz)"
    """
    if not output.parent.is_dir():
        raise InputError(f"-o {output}: there is no folder {output.parent}")
    if output.suffix != ".npz":
        raise InputError(f"-o {output}: the name must end in .npz")
    from capreward.evaluators.cider import frequencies_of_files

    found = frequencies_of_files(references, tokenizer, source=output.name, format=format_, split=split)
    found.save(output)
    click.echo(_summary(found, output), err=True)


@df.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def show(file: Path, as_json: bool) -> None:
    """Show what a document-frequency file holds."""
    from capreward.text.frequencies import DocumentFrequencies

    found = DocumentFrequencies.load(file)
    if as_json:
        sizes: list[Any] = found.table.sizes
        fields = {"images": found.n_images, "ngrams": sizes, "tokenizer": found.tokenizer, "digest": found.digest}
        click.echo(json.dumps(fields))
    else:
        click.echo(_summary(found, file))


def _summary(found: Any, path: Path) -> str:
    sizes = ", ".join(f"{s:,} {n}-grams" for n, s in enumerate(found.table.sizes, start=1))
    return f"{path}: {found.n_images:,} images, {sizes}, tokenizer {found.tokenizer}, digest {found.digest}"
