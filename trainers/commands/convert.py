"""``capreward convert``: weights in any known layout to a folder: a CLIP that open_clip reads, or a captioner."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click

from capreward.command_classes import Command
from capreward.commands.options import CommandOptions
from capreward.errors import InputError


@dataclass(frozen=True)
class ClipOptions(CommandOptions):
    """These are the options of ``capreward convert`` that a CLIP alone has.

    Attributes:
        quick_gelu: True means the activation QuickGELU, and False means GELU; None leaves it to the file.
        statistics: The mean and the deviation of the pixels have this name; None leaves them to the file.
        lora_mlp: True folds the MLP factors of PAC-S++ into the weights as well.
        base: The image tower of this CLIP completes a file that has none; None means that the file is complete.
        fp16: True stores 16-bit numbers.
    """

    quick_gelu: bool | None
    statistics: str | None
    lora_mlp: bool
    base: str | None
    fp16: bool


@dataclass(frozen=True)
class CaptionerOptions(CommandOptions):
    """These are the options of ``capreward convert`` that a captioner alone has.

    Attributes:
        tower: The captioner looks through this CLIP; None means the one in the captioner's file, or none at all.
        vocabulary: The words of the captioner lie in this file; None means the words in the captioner's own file.
        longest: The captions of the captioner have at most so many tokens; None leaves it to the captioner's file.
    """

    tower: str | None
    vocabulary: str | None
    longest: int | None


@click.command(cls=Command)
@click.argument("source", metavar="IN")
@click.argument("out_dir", type=click.Path(path_type=Path))
@click.option(
    "--quick-gelu/--no-quick-gelu", default=None, help="Activation, where the file does not say: OpenAI's, or GELU."
)
@click.option(
    "--statistics",
    type=click.Choice(["openai", "half", "imagenet"]),
    help="Image mean and std, where the file does not say.",
)
@click.option("--lora-mlp", is_flag=True, help="Fold PAC-S++'s MLP factors too, which its own loader leaves out.")
@click.option("--drop-unknown", is_flag=True, help="Leave out objects that are neither tensors nor plain containers.")
@click.option("--base", metavar="WEIGHTS", help="The CLIP whose image tower completes a file without one.")
@click.option("--fp16", is_flag=True, help="Store 16-bit numbers; this rounds 32-bit ones.")
@click.option("--tower", metavar="WEIGHTS", help="The CLIP that a captioner looks through, where its file lacks it.")
@click.option("--vocabulary", metavar="JSON", help="A captioner's ix_to_word, in place of the one in its file.")
@click.option("--longest", type=click.IntRange(2), help="Tokens of a captioner's captions, the begin token included.")
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def convert(source: str, out_dir: Path, drop_unknown: bool, as_json: bool, **options: Any) -> None:
    """Write CLIP weights as a folder that open_clip loads as local-dir:OUT_DIR, and captioners as one of capreward's.

    IN is a weights file of a CLIP (OpenAI, open_clip, transformers, PAC-S, PAC-S++, CLIP-Caption-Reward's grammar) or
    of a captioner (DiCO, CLIP-Caption-Reward), a folder, open_clip's MODEL:TAG or hf-hub:NAME; the latter two are
    fetched if they are not on this computer. Nothing in a file is run.

    \b
    capreward convert clip_ViT-B-32.pth pacs-b32
    capreward convert openClip_ViT-L-14.pth pacs-l14 --no-quick-gelu --statistics half
    capreward convert clip_negative_text-last.ckpt grammar --drop-unknown
    capreward convert clipRN50_clips_grammar-last.ckpt clips-grammar --tower RN50:openai
    """
    from trainers.captioners.layouts.loading import holds_captioner

    of_clip, of_captioner = ClipOptions.of(options), CaptionerOptions.of(options)
    if holds_captioner(source):
        _refuse_options(of_clip, source, "captioner")
        conversion = _convert_captioner(source, out_dir, of_captioner)
    else:
        _refuse_options(of_captioner, source, "CLIP")
        conversion = _convert_clip(source, out_dir, of_clip, drop_unknown=drop_unknown)
    if as_json:
        click.echo(json.dumps(conversion.fields, indent=2, ensure_ascii=False))
        return
    for line in conversion.lines:
        click.echo(line, err=True)


@dataclass(frozen=True)
class _Conversion:
    """What was written, for machines and for people.

    Attributes:
        fields: Machines read these names and values.
        lines: People read these lines.
    """

    fields: dict[str, Any]
    lines: list[str]


def _convert_clip(source: str, out: Path, options: ClipOptions, *, drop_unknown: bool) -> _Conversion:
    """Write a CLIP as a folder that open_clip loads."""
    from capreward.encoders.weights.conversion import convert as write
    from capreward.encoders.weights.weights_request import WeightsRequest

    request = WeightsRequest(
        quick_gelu=options.quick_gelu,
        statistics=options.statistics,
        lora_mlp=options.lora_mlp,
        drop_unknown=drop_unknown,
        download=True,
        base=options.base,
    )
    done = write(source, out, request, fp16=options.fp16)
    activation = "QuickGELU" if done.spec.quick_gelu else "GELU"
    line = (
        f"{out}: {done.spec.layout} layout, {done.parameters:,} parameters, {activation}, images "
        f"{done.spec.preprocessing}, sha256 {done.sha256}"
    )
    return _Conversion(done.to_dict(), [line, *(f"note: {note}" for note in done.spec.notes)])


def _convert_captioner(source: str, out: Path, options: CaptionerOptions) -> _Conversion:
    """Write a captioner as one of capreward's folders."""
    from capreward.encoders.checkpoints.checkpoint import sha256_of
    from trainers.captioners.folder import WEIGHTS
    from trainers.captioners.layouts.loading import convert_captioner

    settings = {"tower": options.tower, "vocabulary": options.vocabulary, "longest": options.longest}
    given = {name: value for name, value in settings.items() if value is not None}
    captioner = convert_captioner(source, out, **given, **({"download": True} if "tower" in given else {}))
    parameters = sum(p.numel() for p in captioner.parameters())
    kind = type(captioner).__name__
    about = {
        "folder": str(out),
        "captioner": kind,
        "parameters": parameters,
        "vocabulary": captioner.vocabulary.size,
        "tower": captioner.configuration()["tower"],
        "decoding": captioner.decoding,
        "sha256": sha256_of([out / WEIGHTS]),
    }
    looks = "stored features, for its CLIP is not named by --tower" if captioner.preprocessing is None else "pictures"
    line = f"{out}: {kind}, {parameters:,} parameters, {captioner.vocabulary.size:,} tokens, takes {looks}"
    return _Conversion(about, [line, f"caption with it by capreward caption photos/ --captioner {out}"])


def _refuse_options(options: CommandOptions, source: str, kind: str) -> None:
    """Refuse the first option that has a value, for the weights in the source would ignore it.

    Args:
        options: These options belong to the other kind of weights.
        source: The user names the weights like this.
        kind: The message says by this word what the source is.
    """
    given = next((f.name for f in fields(options) if getattr(options, f.name) not in (None, False)), None)
    if given is not None:
        raise InputError(f"{source} is a {kind}, which knows no --{given.replace('_', '-')}; leave it out")
