"""``capreward convert``: CLIP weights in any known layout to a folder that open_clip reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


@click.command()
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
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def convert(source: str, out_dir: Path, fp16: bool, as_json: bool, **options: Any) -> None:
    """Write CLIP weights as a folder that open_clip loads as local-dir:OUT_DIR.

    IN is a weights file (OpenAI, open_clip, transformers, PAC-S, PAC-S++, CLIP-Caption-Reward), a folder, open_clip's
    MODEL:TAG or hf-hub:NAME; the latter two are fetched if they are not on this computer. Nothing in a file is run.

    \b
    capreward convert clip_ViT-B-32.pth pacs-b32
    capreward convert openClip_ViT-L-14.pth pacs-l14 --no-quick-gelu --statistics half
    capreward convert clip_negative_text-last.ckpt grammar --drop-unknown
    """
    from capreward.encoders.convert import convert as write
    from capreward.encoders.weights import Asked

    done = write(source, out_dir, Asked(download=True, **options), fp16=fp16)
    if as_json:
        click.echo(json.dumps(done.to_dict(), indent=2, ensure_ascii=False))
        return
    activation = "QuickGELU" if done.spec.quick_gelu else "GELU"
    click.echo(
        f"{out_dir}: {done.spec.layout} layout, {done.parameters:,} parameters, {activation}, images "
        f"{done.spec.preprocessing}, sha256 {done.sha256}",
        err=True,
    )
    for note in done.spec.notes:
        click.echo(f"note: {note}", err=True)
