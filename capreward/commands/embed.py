"""``capreward embed``: encode pictures (or captions) once, and keep the features for every later use."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.commands.command import Command
from capreward.commands.options import F, encoder_options, reading, reading_of_captions, showing, weights_options
from capreward.errors import InputError, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capreward.commands.progress import Bar
    from capreward.data import CaptionTable
    from capreward.encoders.encoder import Encoder
    from capreward.encoders.feature_extraction import AddedFeatures


GRID_MODEL = "RN50:openai"
GRID_SIDE = 448
_OF_TOKENS = ("side", "resize", "cropping")


def _with_encoder(command: F) -> F:
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

    options["images"] = images
    with Bar(1, hidden=options["quiet"]) as bar:
        bar.start("")
        if options["published"]:
            lines = _kept(_published(images, options, bar))
        else:
            work = _texts if options["text"] else _images
            encoder, done = work(images, options, bar)
            lines = _summary(encoder, done, "text" if options["text"] else "picture")
    for line in [] if options["quiet"] else lines:
        click.echo(line, err=True)


def _published(images: Sequence[str], options: dict[str, Any], bar: Bar) -> AddedFeatures:
    from capreward.encoders.published_features import import_features

    others = ("tokens", "text", "captions", "checkpoint", "count", "side", "resize", "cropping")
    given = next((name for name in others if options[name]), "shard" if options["shard"] != "0/1" else None)
    if given is not None:
        raise InputError(f"--published takes features as they are; leave --{given} out")
    if len(images) != 1:
        raise InputError("--published needs the folder of features; write capreward embed FOLDER -o STORE --published")
    how = {"half": options["half"], "part_size": options["part_size"]}
    return import_features(images[0], options["output"], **how, progress=bar.step)


def _images(images: Sequence[str], options: dict[str, Any], bar: Bar) -> tuple[Encoder, AddedFeatures]:
    from capreward.encoders.feature_extraction import embed_images

    if options["prompt"] is not None:
        raise InputError("--prompt goes before captions; add --text, or leave it out")
    stray = next((n for n in _OF_TOKENS if options[n] and not options["tokens"]), None)
    if stray is not None:
        raise InputError(f"--{stray} belongs to tokens; add --tokens, or leave it out")
    shard = _shard(options["shard"])
    if options["tokens"] == "grid":
        options = {**options, **_grid(options)}
    keys, pictures = _pictures(images, options)
    encoder = _encoder(options, pictures[:1])
    if options["tokens"]:
        from capreward.encoders.image_token_encoder import TokenEncoder

        layers = encoder.spec.model_cfg["vision_cfg"].get("layers")
        if options["tokens"] == "grid" and not isinstance(layers, (list, tuple)):
            raise InputError(f"--tokens grid is of a ResNet such as {GRID_MODEL}; for a ViT's tokens write --tokens")
        steps = {name: options[name] for name in (*_OF_TOKENS, "batch_size")}
        encoder = TokenEncoder(encoder.clip, precision=encoder.precision, **steps)
    done = embed_images(
        encoder,
        keys,
        pictures,
        options["output"],
        shard=shard,
        part_size=options["part_size"],
        half=options["half"],
        workers=options["workers"],
        skip_broken=options["skip_broken"],
        progress=bar.step,
    )
    return encoder, done


def _grid(options: dict[str, Any]) -> dict[str, Any]:
    """What CLIP-Caption-Reward's captioners look at: CLIP RN50's grid before pooling, of pictures squashed to 448."""
    return {
        "checkpoint": options["checkpoint"] or GRID_MODEL,
        "side": options["side"] or GRID_SIDE,
        "resize": options["resize"] or "squash",
    }


def _texts(images: Sequence[str], options: dict[str, Any], bar: Bar) -> tuple[Encoder, AddedFeatures]:
    from capreward.encoders.feature_extraction import PART, embed_texts
    from capreward.evaluators.clip_texts import PROMPT

    if images or options["captions"] is None:
        raise InputError("--text embeds the captions of a file; write capreward embed --text --captions FILE -o FOLDER")
    if options["tokens"] or any(options[n] for n in _OF_TOKENS):
        raise InputError("--tokens, --side, --resize and --cropping are for pictures; leave them or --text out")
    shard = _shard(options["shard"])
    table = _table(options)
    given = PROMPT if options["prompt"] is None else options["prompt"]
    prompt = "" if given in ("", "none") else given if given.endswith(" ") else f"{given} "
    counts: Counter[str] = Counter()
    keys = []
    for key in table.keys[: options["count"]]:
        keys.append(f"{key}#{counts[key]}")
        counts[key] += 1
    from capreward.data.scenes import picture_of

    encoder = _encoder(options, [picture_of(key) for key in table.keys[:1]])
    done = embed_texts(
        encoder,
        keys,
        table.captions[: len(keys)],
        options["output"],
        prompt=prompt,
        shard=shard,
        part_size=options["part_size"] or PART,
        half=options["half"],
        progress=bar.step,
    )
    return encoder, done


def _pictures(images: Sequence[str], options: dict[str, Any]) -> tuple[list[str], list[Any]]:
    if options["captions"] is None:
        return _all_pictures(images, options)
    from capreward.data.images.lookup import find_images
    from capreward.data.images.table_of_captions import own_pictures

    table = _table(options)
    keys = list(dict.fromkeys(table.keys))[: options["count"]]
    source = images or own_pictures(table, keys, options["image_column"])
    columns = showing(options) if images else {}
    found = find_images(source, keys, aliases=table.aliases, base=Path(table.source).parent, **columns)
    if "features" in found.source:
        raise InputError(f"{shorten(list(images))} is a feature store already; give the pictures")
    return keys, found.images


def _all_pictures(images: Sequence[str], options: dict[str, Any]) -> tuple[list[str], list[Any]]:
    """The pictures of all places, whose keys must differ."""
    from capreward.data.images.inventory import list_pictures

    if not images:
        raise InputError("nothing to embed; name a folder of pictures, a .tar, a table or scenes:test")
    found: dict[str, Any] = {}
    for place in images:
        for key, picture in zip(*list_pictures(place, options["count"], **showing(options)), strict=True):
            if found.setdefault(key, picture) is not picture and found[key].key != picture.key:
                raise InputError(f'two pictures have the key "{key}": {found[key]} and {picture}; embed them apart')
    keys = list(found)[: options["count"]]
    return keys, [found[key] for key in keys]


def _table(options: dict[str, Any]) -> CaptionTable:
    from capreward.data import read_captions

    return read_captions(options["captions"], paired=options["text"], **reading(options, of_references=False))


def _encoder(options: dict[str, Any], pictures: list[Any]) -> Encoder:
    """The encoder that the evaluator would use for these pictures."""
    from capreward.encoders.pool import EncoderPool, EncoderSettings
    from capreward.evaluators.clip_weights import choose_settings, shows_scenes
    from capreward.samples import Samples

    asked = EncoderSettings(
        checkpoint=options["checkpoint"] or "",
        quick_gelu=options["quick_gelu"],
        statistics=options["statistics"],
        precision=options["precision"],
        device=options["device"],
        lora_mlp=options["lora_mlp"],
        decode="original" if options["original"] else "careful",
        batch_size=options["batch_size"],
        download=options["download"],
    )
    samples = Samples([], images=pictures, item=[])
    return EncoderPool().encoder(
        choose_settings(asked, options["family"], options["variant"], scenes=shows_scenes(samples))
    )


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or int(found[1]) >= int(found[2]):
        raise InputError(f"--shard {text}: write I/N with I from 0 to N - 1, such as 0/4")
    return int(found[1]), int(found[2])


def _kept(done: AddedFeatures) -> list[str]:
    """What was taken over, for people."""
    present = f", {done.present:,} there already" if done.present else ""
    return [
        f"{done.new:,} features kept in {done.path}{present}",
        "note: which weights made them is not known; captioners of stored features take them by their shape",
    ]


def _summary(encoder: Encoder, done: AddedFeatures, what: str) -> list[str]:
    """What was done, for people."""
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
