"""``capreward convert``: weights in any known layout to a folder: a CLIP that open_clip reads, or a captioner."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from capreward.commands.command import Command
from capreward.errors import InputError

_CLIP_ALONE = ("quick_gelu", "statistics", "lora_mlp", "base", "fp16")
_CAPTIONER_ALONE = ("tower", "vocabulary", "longest")


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
def convert(source: str, out_dir: Path, as_json: bool, **options: Any) -> None:
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

    if holds_captioner(source):
        _refuse(source, "captioner", options, _CLIP_ALONE)
        told = _captioner(source, out_dir, {name: options[name] for name in _CAPTIONER_ALONE})
    else:
        _refuse(source, "CLIP", options, _CAPTIONER_ALONE)
        told = _clip(source, out_dir, {name: options[name] for name in (*_CLIP_ALONE, "drop_unknown")})
    if as_json:
        click.echo(json.dumps(told.fields, indent=2, ensure_ascii=False))
        return
    for line in told.lines:
        click.echo(line, err=True)


class _Told:
    """What was written, for machines and for people."""

    def __init__(self, fields: dict[str, Any], lines: list[str]) -> None:
        self.fields = fields
        self.lines = lines


def _clip(source: str, out: Path, options: dict[str, Any]) -> _Told:
    from capreward.encoders.weights.conversion import convert as write
    from capreward.encoders.weights.types import WeightsRequest

    fp16 = options.pop("fp16")
    done = write(source, out, WeightsRequest(download=True, **options), fp16=fp16)
    activation = "QuickGELU" if done.spec.quick_gelu else "GELU"
    line = (
        f"{out}: {done.spec.layout} layout, {done.parameters:,} parameters, {activation}, images "
        f"{done.spec.preprocessing}, sha256 {done.sha256}"
    )
    return _Told(done.to_dict(), [line, *(f"note: {note}" for note in done.spec.notes)])


def _captioner(source: str, out: Path, options: dict[str, Any]) -> _Told:
    from capreward.encoders.checkpoints.checkpoint import sha256_of
    from trainers.captioners.folder import WEIGHTS
    from trainers.captioners.layouts.loading import convert_captioner

    given = {name: value for name, value in options.items() if value is not None}
    captioner = convert_captioner(source, out, **given, **({"download": True} if "tower" in given else {}))
    parameters = sum(p.numel() for p in captioner.parameters())
    kind = type(captioner).__name__
    fields = {
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
    return _Told(fields, [line, f"caption with it by capreward caption photos/ --captioner {out}"])


def _refuse(source: str, kind: str, options: dict[str, Any], others: tuple[str, ...]) -> None:
    """Refuse an option that would silently be ignored."""
    given = next((name for name in others if options[name] not in (None, False)), None)
    if given is not None:
        flag = "quick-gelu" if given == "quick_gelu" else given.replace("_", "-")
        raise InputError(f"{source} is a {kind}, which knows no --{flag}; leave it out")
