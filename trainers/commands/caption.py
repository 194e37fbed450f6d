"""``capreward caption``: pictures in, captions out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.command_classes import Command
from capreward.errors import InputError, shorten
from trainers.commands.decoding_options import (
    DecodingOptions,
    RunningOptions,
    decoding_of,
    decoding_options,
    running_options,
)
from trainers.runs.devices import autocast, workers_for

if TYPE_CHECKING:
    import torch

    from trainers.captioners.base import Captioner
    from trainers.comparison.named_captioners import NamedCaptioner
    from trainers.data import Dataset
    from trainers.decoding import Decoding


@dataclass(frozen=True)
class CaptionOptions(DecodingOptions, RunningOptions):
    """These are the options of ``capreward caption``.

    Attributes:
        captioner: This run, folder or released checkpoint captions; None means the captioner that ships, for scenes.
        count: So many pictures are captioned, from the first on; None captions all of them.
        candidates: So many captions of each image are written with their scores; None writes one without its score.
        seed: The generator that draws words starts from this seed.
        as_json: True writes a JSON list, and False writes a line for each caption unless ``output`` ends in ``.json``.
        output: The captions are written to this file; None writes them to standard output.
        skip_broken: True leaves out pictures that cannot be read, and False refuses them.
        quiet: True writes nothing but errors to standard error.
    """

    captioner: str | None
    count: int | None
    candidates: int | None
    seed: int
    as_json: bool
    output: Path | None
    skip_broken: bool
    quiet: bool


@click.command(cls=Command)
@click.argument("images", nargs=-1, required=True)
@click.option("-c", "--captioner", help="A run, a captioner's folder, a released checkpoint, or scenes.")
@click.option("--count", type=click.IntRange(1), help="The first so many pictures; 1,000 of scenes by default.")
@click.option("--candidates", type=click.IntRange(1), help="Captions of each image, best first, with their scores.")
@decoding_options
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Of --sample.")
@click.option("--json", "as_json", is_flag=True, help="A JSON list that capreward score reads.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write there; a name in .json implies --json.")
@click.option("--skip-broken", is_flag=True, help="Leave out pictures that cannot be read, and name them.")
@running_options
@click.option("-q", "--quiet", is_flag=True, help="Nothing on standard error but errors.")
def caption(images: tuple[str, ...], **options: Any) -> None:
    """Caption IMAGES: files, folders, tar shards, tables with pictures, feature stores, or scenes:test.

    One line per image, its key, a tab and the caption, goes to standard output; with --candidates the score, the
    caption's log-probability (of beams divided by the length), stands between them. Pictures of scenes are captioned by
    the captioner that ships with capreward, where --captioner names no other.

    \b
    capreward caption scenes:test --count 5
    capreward caption photos/ dog.jpg --captioner runs/dico-pacs
    capreward caption "test-{000..007}.tar" -c runs/xe -o captions.json
    capreward caption photos/ -c runs/xe --sample --temperature 0.7 --candidates 5 --json > samples.json
    capreward score captions.json -r refs.json
    """
    from capreward.encoders.pool import device_of
    from trainers.commands.caption_inputs import pictures_of
    from trainers.comparison.named_captioners import by_authors

    given = CaptionOptions.of(options)
    _check_output(given.output)
    dataset = pictures_of(images, given.count)
    source = _source(given.captioner, dataset)
    device = device_of(given.device)
    with autocast(device, given.precision):
        captioner = source.open(device=device, download=given.download)
        _check_kind(captioner, source, dataset)
        settings = decoding_of(given, source, captioner, candidates=given.candidates)
        rows, broken = _caption_all(captioner, dataset, settings, given)
    as_json = given.as_json or (given.output is not None and given.output.suffix == ".json")
    _write(rows, given.output, as_json=as_json)
    if not given.quiet:
        own = by_authors([source], captioner)
        for line in _summary(rows, broken, source, settings, given.output, own=own):
            click.echo(line, err=True)


def _check_output(path: Path | None) -> None:
    """Refuse a file that cannot be written, before any work is done."""
    if path is None:
        return
    if path.is_dir():
        raise InputError(f"--output {path} is a folder; name a file in it")
    if not path.absolute().parent.is_dir():
        raise InputError(f"--output {path}: there is no folder {path.parent}")


def _source(named: str | None, dataset: Dataset) -> NamedCaptioner:
    """Return the captioner of that name, or the one that ships where none is named and all pictures are of scenes."""
    from trainers.commands.caption_inputs import shows_scenes
    from trainers.comparison.named_captioners import SCENES, source_of

    if named is None and not shows_scenes(dataset):
        raise InputError(
            "no captioner is named; give --captioner with a run, a captioner's folder or a released checkpoint"
        )
    return source_of(named or SCENES)


def _check_kind(captioner: Captioner, source: NamedCaptioner, dataset: Dataset) -> None:
    """Refuse what the captioner's tower does not take, before the first picture is decoded."""
    from capreward.encoders.store.feature_store import StoredFeature

    stored = [p for p in map(dataset.picture, range(len(dataset))) if isinstance(p, StoredFeature)]
    if stored and len(stored) < len(dataset):
        raise InputError("pictures and stored features cannot be captioned together; make two calls of it")
    if captioner.preprocessing is None and not stored:
        raise InputError(f"{source.name} was trained on stored features; give a feature store (capreward embed)")
    tower = getattr(captioner, "tower", None)
    for store in {id(p.store): p.store for p in stored}.values():
        if tower is not None:
            tower.check_store(store)


def _caption_all(
    captioner: Captioner, dataset: Dataset, settings: Decoding, options: CaptionOptions
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows of all pictures and a sentence for each broken one."""
    from capreward.commands.progress import Bar
    from trainers.commands.caption_inputs import shows_scenes
    from trainers.evaluation.decoded_batches import each_decoded

    workers = workers_for(options.workers, len(dataset), drawn=shows_scenes(dataset))
    generator = _generator(captioner, options.seed)
    rows: list[dict[str, Any]] = []
    broken: list[str] = []
    images = 0
    with Bar(1, hidden=options.quiet) as bar:
        bar.start("")
        batches = each_decoded(
            captioner,
            dataset,
            settings,
            batch_size=options.batch_size,
            workers=workers,
            generator=generator,
        )
        for batch, decoded in batches:
            broken += batch.broken
            if broken and not options.skip_broken:
                raise InputError(_refusal(broken))
            texts = captioner.decode_text(decoded.tokens.flatten(0, 1))
            scores = decoded.scores.flatten().tolist() if options.candidates else None
            rows += _rows(batch.keys, texts, scores)
            images += len(batch)
            bar.step("captioning", images, len(dataset))
    return rows, broken


def _generator(captioner: Captioner, seed: int) -> torch.Generator:
    """Return the generator that draws words on the captioner's device."""
    import torch

    device = next(captioner.parameters()).device
    return torch.Generator(device if device.type == "cuda" else "cpu").manual_seed(seed)


def _rows(keys: list[str], texts: list[str], scores: list[float] | None) -> Iterator[dict[str, Any]]:
    """Yield one row per caption; the rows of an image stand side by side."""
    each = len(texts) // len(keys)
    for number, text in enumerate(texts):
        row: dict[str, Any] = {"image_id": keys[number // each], "caption": text}
        yield row if scores is None else {**row, "score": round(scores[number], 6)}


def _refusal(broken: list[str]) -> str:
    """Return the sentence that refuses broken pictures."""
    are = "pictures are" if len(broken) > 1 else "picture is"
    return f"{len(broken):,} {are} broken: {shorten(broken)}; mend what is broken, or leave it out with --skip-broken"


def _write(rows: list[dict[str, Any]], path: Path | None, *, as_json: bool) -> None:
    """Write the rows to a file, or to standard output where no file is named."""
    from capreward.atomic_files import write_beside

    text = _as_json(rows) if as_json else "".join(_line(row) for row in rows)
    if path is None:
        click.echo(text, nl=False)
    else:
        write_beside(path, lambda beside: _fill(beside, text))


def _as_json(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a JSON list with one row on a line."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    return f"[\n{lines}\n]\n"


def _line(row: dict[str, Any]) -> str:
    """Return a row as one line with tabs between its fields; blanks of any kind within a field become one space."""
    fields = [row["image_id"], *([f"{row['score']:.4f}"] if "score" in row else []), row["caption"]]
    return "\t".join(" ".join(str(field).split()) for field in fields) + "\n"


def _summary(
    rows: list[dict[str, Any]],
    broken: list[str],
    source: NamedCaptioner,
    settings: Decoding,
    path: Path | None,
    *,
    own: bool,
) -> list[str]:
    """Return lines for people on what was captioned and how.

    Args:
        rows: The captions.
        broken: Each sentence is on a picture that was left out.
        source: The captioner has its name from here.
        settings: The captions were decoded like this.
        path: The captions were written to this file; None means standard output.
        own: True if the captioner is decoded as its authors do.
    """
    from trainers.evaluation.search_settings import describe_search

    images = len({row["image_id"] for row in rows})
    each = f"{len(rows):,} captions of {images:,} picture{'s' * (images != 1)}"
    where = "" if path is None else f", written to {path}"
    lines = [f"{each} by {source.name} ({describe_search(settings)}){where}"]
    if own:
        lines.append(
            f"note: {source.name} is decoded as its authors do; --beams, --max-length, --length-penalty and --rules win"
        )
    if broken:
        plural = "s" * (len(broken) != 1)
        lines.append(f"note: {len(broken):,} broken picture{plural} left out: {shorten(broken)}")
    return lines


def _fill(path: Path, text: str) -> None:
    """Write a text into a file."""
    path.write_text(text, encoding="utf-8")
