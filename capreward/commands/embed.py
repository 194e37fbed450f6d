"""``capreward embed``: encode pictures (or captions) once, and keep the features for every later use."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.command_classes import Command
from capreward.commands.caption_options import reading_of_captions
from capreward.commands.embed_inputs import EmbedOptions, encoder_of, pictures_of, prompt_of, shard_of, table_of
from capreward.commands.image_options import encoder_options, weights_options
from capreward.commands.options import F
from capreward.errors import InputError, shorten

if TYPE_CHECKING:
    from capreward.commands.progress import Bar
    from capreward.encoders.encoder import Encoder
    from capreward.encoders.feature_extraction import AddedFeatures


GRID_MODEL = "RN50:openai"
GRID_SIDE = 448


def _with_encoder(command: F) -> F:
    """Add the options that say how the encoder runs."""
    for option in reversed(encoder_options()):
        command = option(command)
    return command


@click.command(cls=Command)
@click.argument("images", nargs=-1)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the feature store.")
@weights_options
@click.option("--quick-gelu/--gelu", default=None, help="Activation, where the weights do not say.")
@click.option("--statistics", help="Of pixels, where the weights do not say: openai, half or imagenet.")
@click.option("--original", is_flag=True, help="Decode as the original scripts: no EXIF turn, no 16-bit scaling.")
@click.option("--lora-mlp", is_flag=True, help="Fold PAC-S++'s MLP factors as well.")
@click.option("--captions", type=click.Path(path_type=Path), help="Embed the images of this caption file alone.")
@reading_of_captions
@click.option("--image-column", help="Column of pictures or picture files, in a table.")
@click.option("--images-id-column", help="Column of image ids in a table of IMAGES; row for its rows.")
@click.option("--text", is_flag=True, help="Embed the captions themselves, as ID#0, ID#1, ...")
@click.option("--prompt", help='Put before captions; "none" for none.  [default: A photo depicts]')
@click.option("--count", type=click.IntRange(1), help="The first so many pictures; 1,000 of scenes by default.")
@click.option("--shard", metavar="I/N", default="0/1", help="Do part I of N, counted from 0, beside the others.")
@click.option("--part-size", type=click.IntRange(1), help="Features per file; 8,192, or fewer of tokens, by default.")
@click.option("--fp16", "half", is_flag=True, help="Keep float16 features, half the size.")
@click.option(
    "--tokens",
    type=click.Choice(["all", "grid"]),
    is_flag=False,
    flag_value="all",
    help="All tokens of the image tower, for captioners, not one feature; grid: RN50's 14 x 14 of squashed pictures.",
)
@click.option("--side", type=click.IntRange(1), help="With --tokens, of a ResNet's pixels: 448 for 14 x 14 tokens.")
@click.option("--resize", type=click.Choice(["shortest", "squash"]), help="With --tokens: crop the centre, or squash.")
@click.option(
    "--cropping",
    type=click.Choice(["torchvision", "transformers"]),
    help="With --tokens: whose pixels; DiCO's captioners look at those of transformers.",
)
@_with_encoder
@click.option("--published", is_flag=True, help="IMAGES is a folder of grids from elsewhere: ID.npz (feat), ID.npy.")
@click.option("--skip-broken", is_flag=True, help="Leave out pictures that cannot be decoded.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing on standard error.")
def embed(images: tuple[str, ...], **options: Any) -> None:
    """Encode IMAGES once and keep their features in a folder, which evaluators take in place of the pictures.

    IMAGES are folders, tar files or brace patterns of tars, tables with pictures, or scenes:test. A run that was
    stopped goes on when it is started again, new pictures are added, and several machines can share the work by
    --shard.

    \b
    capreward embed photos/ -o photos.features
    capreward embed "train-{000..099}.tar" -o train.features --for pacs --shard 0/4
    capreward embed --text --captions refs.json -o refs.features
    capreward embed photos/ -o photos.tokens --tokens --model ViT-L-14:openai --fp16
    capreward embed photos/ -o photos.grids --tokens grid --fp16
    capreward embed cocotalk_clip_RN50_att/ -o coco.grids --published --fp16
    capreward score captions.json --images photos.features -m clips
    """
    from capreward.commands.progress import Bar

    given = EmbedOptions.of({**options, "images": images})
    with Bar(1, hidden=given.quiet) as bar:
        bar.start("")
        if given.published:
            lines = _lines_of_import(_import_published(given, bar))
        else:
            work = _embed_captions if given.text else _embed_pictures
            encoder, done = work(given, bar)
            lines = _lines_of_work(encoder, done, "text" if given.text else "picture")
    for line in [] if given.quiet else lines:
        click.echo(line, err=True)


def _import_published(options: EmbedOptions, bar: Bar) -> AddedFeatures:
    """Take features from elsewhere over into a store."""
    from capreward.encoders.published_features import import_features

    others = ("tokens", "text", "captions", "checkpoint", "count", "side", "resize", "cropping")
    given = next((name for name in others if getattr(options, name)), "shard" if options.shard != "0/1" else None)
    if given is not None:
        raise InputError(f"--published takes features as they are; leave --{given} out")
    if len(options.images) != 1:
        raise InputError("--published needs the folder of features; write capreward embed FOLDER -o STORE --published")
    return import_features(
        options.images[0], options.output, half=options.half, part_size=options.part_size, progress=bar.step
    )


def _embed_pictures(options: EmbedOptions, bar: Bar) -> tuple[Encoder, AddedFeatures]:
    """Write the features or tokens of pictures into the store."""
    from capreward.encoders.feature_extraction import embed_images

    if options.prompt is not None:
        raise InputError("--prompt goes before captions; add --text, or leave it out")
    if options.given_of_tokens and not options.tokens:
        raise InputError(f"--{options.given_of_tokens[0]} belongs to tokens; add --tokens, or leave it out")
    shard = shard_of(options.shard)
    if options.tokens == "grid":
        options = _with_defaults_of_grid(options)
    keys, pictures = pictures_of(options)
    encoder = encoder_of(options, pictures[:1])
    if options.tokens:
        encoder = _token_encoder(encoder, options)
    done = embed_images(
        encoder,
        keys,
        pictures,
        options.output,
        shard=shard,
        part_size=options.part_size,
        half=options.half,
        workers=options.workers,
        skip_broken=options.skip_broken,
        progress=bar.step,
    )
    return encoder, done


def _token_encoder(encoder: Encoder, options: EmbedOptions) -> Encoder:
    """Return the encoder that gives the tokens of the same image tower."""
    from capreward.encoders.image_token_encoder import TokenEncoder

    layers = encoder.spec.model_cfg["vision_cfg"].get("layers")
    if options.tokens == "grid" and not isinstance(layers, (list, tuple)):
        raise InputError(f"--tokens grid is of a ResNet such as {GRID_MODEL}; for a ViT's tokens write --tokens")
    return TokenEncoder(
        encoder.clip,
        side=options.side,
        resize=options.resize,
        cropping=options.cropping,
        precision=encoder.precision,
        batch_size=options.batch_size,
    )


def _with_defaults_of_grid(options: EmbedOptions) -> EmbedOptions:
    """Return the options with what CLIP-Caption-Reward's captioners look at, where they say nothing else.

    These captioners look at the grid of CLIP RN50 before its pooling, of pictures that are squashed to 448 pixels.
    """
    return replace(
        options,
        checkpoint=options.checkpoint or GRID_MODEL,
        side=options.side or GRID_SIDE,
        resize=options.resize or "squash",
    )


def _embed_captions(options: EmbedOptions, bar: Bar) -> tuple[Encoder, AddedFeatures]:
    """Write the features of captions into the store."""
    from capreward.encoders.feature_extraction import PART, embed_texts

    if options.images or options.captions is None:
        raise InputError("--text embeds the captions of a file; write capreward embed --text --captions FILE -o FOLDER")
    if options.tokens or options.given_of_tokens:
        raise InputError("--tokens, --side, --resize and --cropping are for pictures; leave them or --text out")
    shard = shard_of(options.shard)
    table = table_of(options.captions, options)
    counts: Counter[str] = Counter()
    keys = []
    for key in table.keys[: options.count]:
        keys.append(f"{key}#{counts[key]}")
        counts[key] += 1
    from capreward.data.scenes import picture_of

    encoder = encoder_of(options, [picture_of(key) for key in table.keys[:1]])
    done = embed_texts(
        encoder,
        keys,
        table.captions[: len(keys)],
        options.output,
        prompt=prompt_of(options.prompt),
        shard=shard,
        part_size=options.part_size or PART,
        half=options.half,
        progress=bar.step,
    )
    return encoder, done


def _lines_of_import(done: AddedFeatures) -> list[str]:
    """Return lines for people on the features that were taken over."""
    present = f", {done.present:,} there already" if done.present else ""
    return [
        f"{done.new:,} features kept in {done.path}{present}",
        "note: which weights made them is not known; captioners of stored features take them by their shape",
    ]


def _lines_of_work(encoder: Encoder, done: AddedFeatures, what: str) -> list[str]:
    """Return lines for people on the texts or pictures that were embedded."""
    fields = encoder.fields()
    words = [f"{done.new:,} {what}{'s' * (done.new != 1)} embedded into {done.path}"]
    if done.present:
        words.append(f"{done.present:,} there already")
    if done.elsewhere:
        words.append(f"{done.elsewhere:,} left to other shards")
    size = " x ".join(str(n) for n in ((encoder.embed_dim,) if what == "text" else encoder.shape))
    lines = [", ".join(words), f"{' '.join(str(v) for v in fields.values())}, {size} numbers each"]
    lines += [f"note: {note}" for note in encoder.spec.notes]
    if done.broken:
        named = shorten([sentence for _, sentence in done.broken])
        lines.append(f"note: {len(done.broken):,} broken {what}{'s' * (len(done.broken) != 1)} left out: {named}")
    if done.cut:
        lines.append(f"note: {done.cut:,} texts cut at {encoder.context_length} tokens")
    return lines
