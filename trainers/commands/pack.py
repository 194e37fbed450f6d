"""``capreward pack``: training shards from captions and images, and a look through shards that are there."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.command_classes import Command
from capreward.commands.options import CommandOptions
from capreward.errors import InputError, shorten

if TYPE_CHECKING:
    from capreward.commands.progress import Bar
    from trainers.data.packing import PackResult
    from trainers.data.shard_verification import Verification


@dataclass(frozen=True)
class PackOptions(CommandOptions):
    """These are the options of ``capreward pack``.

    Attributes:
        out: The shards are written into this folder; None writes no shards.
        images: The pictures of the captions lie here; None leaves it to the captions to name or hold them.
        split: The items of this split are taken; None reads a file that has no splits.
        count: So many pictures are taken, from the first on; None takes all of them.
        layout: ``xe`` writes a sample for each caption, and ``dico`` writes a sample for each picture.
        shard_size: A shard holds so many samples.
        resize: The shorter side of a larger picture becomes so many pixels long; None leaves pictures as they are.
        quality: JPEGs that are written anew have this quality, of 1 to 100.
        name: The set has this name in the file names and in datasets.json.
        id_column: The column of this name holds the ids in a table; None means one of the usual names.
        caption_column: The columns of these names hold the captions in a table; an empty tuple means the usual names.
        image_column: The column of this name holds the picture files in a table; None means one of the usual names.
        allow_missing: True leaves out captions whose picture is not found, and False refuses them.
        skip_broken: True leaves out pictures that cannot be decoded, and False refuses them.
        check: True looks through the shards, the new ones or those that the user names.
        workers: So many processes decode pictures.
        as_json: True writes to standard output as JSON what was done.
        quiet: True writes nothing but errors to standard error.
    """

    out: Path | None
    images: str | None
    split: str | None
    count: int | None
    layout: str
    shard_size: int
    resize: int | None
    quality: int
    name: str
    id_column: str | None
    caption_column: tuple[str, ...]
    image_column: str | None
    allow_missing: bool
    skip_broken: bool
    check: bool
    workers: int
    as_json: bool
    quiet: bool


@click.command(cls=Command)
@click.argument("source")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder of the shards.")
@click.option("-i", "--images", help="Folder, tar shards or table of the pictures, if the captions do not name them.")
@click.option("--split", help="Split of a Karpathy file (train+restval joins two) or of scenes.")
@click.option("--count", type=click.IntRange(1), help="The first so many pictures; all by default.")
@click.option(
    "--layout",
    type=click.Choice(["xe", "dico"]),
    default="dico",
    show_default=True,
    help="xe: a sample per caption, .jpg and .txt; dico: one per picture, .jpg and .json.",
)
@click.option("--shard-size", type=click.IntRange(1), default=5000, show_default=True, help="Samples per shard.")
@click.option("--resize", type=click.IntRange(1), help="Shorter side of larger pictures, such as 384.")
@click.option("--quality", type=click.IntRange(1, 100), default=95, show_default=True, help="Of JPEGs written anew.")
@click.option("--name", default="data", show_default=True, help="Of the set, in the file names and datasets.json.")
@click.option("--id-column", help="Column of image ids in a table.")
@click.option("--caption-column", multiple=True, help="Column of captions in a table; repeat it for several.")
@click.option("--image-column", help="Column of picture files in a table.")
@click.option("--allow-missing", is_flag=True, help="Leave out captions whose picture is not found.")
@click.option("--skip-broken", is_flag=True, help="Leave out pictures that cannot be decoded, and name them.")
@click.option("--verify", "check", is_flag=True, help="Look through the shards: the new ones, or SOURCE.")
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that decode.")
@click.option("--json", "as_json", is_flag=True, help="What was done, as JSON on standard output.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on standard error but errors.")
def pack(source: str, **options: Any) -> None:
    """Write the pictures and captions of SOURCE as training shards, or look through shards that are there.

    SOURCE is a caption file with pictures, tar shards, FILE.json:NAME or scenes:SPLIT. JPEGs are copied as they are
    unless they are larger than --resize. A run that was stopped goes on when it is started again. The set is named in
    datasets.json beside the shards, for --data DIR/datasets.json:NAME.

    \b
    capreward pack dataset_coco.json -i coco/ --split train+restval -o shards --name coco-384-training --resize 384
    capreward pack captions.csv -o shards --layout xe --verify
    capreward pack scenes:train -o shards --count 5000 --name scenes
    capreward pack --verify "shards/coco-384-training-{000..022}.tar"
    """
    from capreward.commands.progress import Bar

    given = PackOptions.of(options)
    fields: dict[str, Any] = {}
    lines: list[str] = []
    with Bar(1 + bool(given.check and given.out), hidden=given.quiet) as bar:
        checked = source
        if given.out is not None:
            packed, notes = _pack(source, given.out, given, bar)
            checked = str(given.out / packed.pattern)
            fields |= _fields_of_shards(packed, given.out, given)
            lines += [*notes, *_lines_of_shards(packed, given.out, given.name)]
        elif not given.check:
            raise InputError("name the folder of the shards with --out, or look through SOURCE with --verify")
        verified = _verify(checked, bar) if given.check else None
    if verified is not None:
        fields["verified"] = {**vars(verified)}
        lines.append(_line_of_verification(checked, verified))
    if not given.quiet:
        for line in lines:
            click.echo(line, err=True)
    if given.as_json:
        click.echo(json.dumps(fields, ensure_ascii=False))
    if verified is not None and verified.damaged:
        raise InputError(f"{len(verified.damaged):,} damaged: {shorten(verified.damaged, 10)}")


def _pack(source: str, out: Path, options: PackOptions, bar: Bar) -> tuple[PackResult, list[str]]:
    """Write the shards, and return what was written and notes on the source."""
    from trainers.data.datasets_file import is_remote
    from trainers.data.loading import open_dataset
    from trainers.data.packing import Plan
    from trainers.data.packing import pack as write

    if not re.fullmatch(r"[^\W_][\w+-]*", options.name):
        raise InputError(f"--name {options.name}: use letters, digits, - and _")
    if is_remote(source):
        raise InputError(f"{source} is remote; copy its shards here first")
    bar.start("")
    dataset = open_dataset(
        source,
        images=options.images,
        split=options.split,
        count=options.count,
        id_column=options.id_column,
        caption_column=options.caption_column or None,
        image_column=options.image_column,
        allow_missing=options.allow_missing,
    )
    _refuse_features(dataset.picture(0), options.images)
    plan = Plan(
        out,
        options.name,
        options.layout,
        options.shard_size,
        options.resize,
        options.quality,
        options.skip_broken,
        options.workers,
    )
    return write(dataset, plan, bar.step), [f"note: {note}" for note in dataset.notes]


def _refuse_features(first: Any, images: str | None) -> None:
    """Refuse a first picture that is a stored feature."""
    from capreward.encoders.store.feature_store import StoredFeature

    if isinstance(first, StoredFeature):
        raise InputError(f"{images} is a feature store; shards hold pictures: give those")


def _verify(source: str, bar: Bar) -> Verification:
    """Look through shards that are there."""
    from trainers.data.loading import shards_of
    from trainers.data.shard_verification import verify

    paths, remote = shards_of(source)
    if not paths or remote:
        raise InputError(
            f"{source} names no shards; write a .tar, a pattern such as x-{{000..007}}.tar or FILE.json:NAME"
        )
    bar.start("verifying")
    return verify(paths, bar.step)


def _fields_of_shards(packed: PackResult, out: Path, options: PackOptions) -> dict[str, Any]:
    """Return what was written, for machines."""
    return {
        "out": str(out),
        "name": options.name,
        "layout": options.layout,
        "pattern": packed.pattern,
        "shards": len(packed.shards),
        "written": packed.written,
        "kept": packed.kept,
        "samples": packed.samples,
        "pictures": packed.pictures,
        "captions": packed.captions,
        "left_out": packed.left_out,
    }


def _lines_of_shards(packed: PackResult, out: Path, name: str) -> list[str]:
    """Return lines for people on what was written."""
    count = len(packed.shards)
    first = (
        f"{out / packed.pattern}: {count:,} shard{'s' * (count != 1)} ({packed.written:,} written, "
        f"{packed.kept:,} there already), {packed.samples:,} samples, {packed.captions:,} captions"
    )
    lines = [first, f"train on them with --data {out / 'datasets.json'}:{name}"]
    if packed.left_out:
        named = shorten(packed.left_out)
        lines.append(
            f"note: {len(packed.left_out):,} broken picture{'s' * (len(packed.left_out) != 1)} left out: {named}"
        )
    return lines


def _line_of_verification(source: str, found: Verification) -> str:
    """Return a line for people on the shards that were looked through."""
    return (
        f"{source}: {found.shards:,} shard{'s' * (found.shards != 1)}, {found.samples:,} samples, {found.pictures:,} "
        f"pictures and {found.captions:,} captions are sound, {len(found.damaged):,} things damaged"
    )
