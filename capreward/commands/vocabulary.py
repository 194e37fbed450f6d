"""``capreward vocabulary``: whole-word vocabularies and labels, as CLIP-Caption-Reward's prepro_labels makes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.command_classes import Group
from capreward.commands.caption_options import ReadingOptions, reading_of_captions
from capreward.errors import InputError

if TYPE_CHECKING:
    from capreward.data.tokenized_captions import ImageSentences

_SPLIT = "Split of a Karpathy file, such as train+restval; all of it by default, as published."


@dataclass(frozen=True)
class SentenceOptions(ReadingOptions):
    """These options say how captions are read as words.

    Attributes:
        split: The captions of this split are read, such as those of ``test``; None reads all captions.
    """

    split: str | None


@click.group(cls=Group)
def vocabulary() -> None:
    """Build vocabularies of whole words, and captions as rows of their ids."""


@vocabulary.command()
@click.argument("captions", type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The .json file to write.")
@click.option(
    "--threshold", default=5, show_default=True, type=click.IntRange(0), help="Keep words that occur more often."
)
@click.option("--split", help=_SPLIT)
@reading_of_captions
def build(captions: Path, output: Path, threshold: int, **options: Any) -> None:
    """Write {"ix_to_word", "images"}, the layout of cocotalk.json: words in order of first appearance, UNK last.

    The published vocabulary counts the words of all splits, those of val and test too; --split train+restval does not.

    \b
    capreward vocabulary build dataset_coco.json -o cocotalk.json
    capreward vocabulary build dataset_coco.json -o vocabulary.json --split train+restval
    """
    given = SentenceOptions.of(options)
    _check(output, ".json")
    from capreward.atomic_files import write_text_beside
    from capreward.text.vocabulary import UNKNOWN, frequent_words

    images = _sentences(captions, given)
    words = frequent_words((words for image in images for words in image.sentences), threshold)
    if not words or words == [UNKNOWN]:
        raise InputError(f"no word of {captions} occurs more than {threshold} times; give a lower --threshold")
    listed = [_image(image) for image in images]
    table = {"ix_to_word": {str(number): word for number, word in enumerate(words, 1)}, "images": listed}
    write_text_beside(output, json.dumps(table, ensure_ascii=False) + "\n")
    unknown = f", {UNKNOWN} the last" if words[-1] == UNKNOWN else ""
    click.echo(f"{output}: {len(words):,} words{unknown}, {len(images):,} images", err=True)


@vocabulary.command()
@click.argument("captions", type=click.Path(path_type=Path))
@click.option("-v", "--vocabulary", "words", required=True, type=click.Path(path_type=Path), help="With ix_to_word.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The .npz file to write.")
@click.option("--max-length", default=16, show_default=True, type=click.IntRange(1), help="Words of a caption at most.")
@click.option("--split", help=_SPLIT)
@reading_of_captions
def labels(captions: Path, words: Path, output: Path, max_length: int, **options: Any) -> None:
    """Write captions as rows of word ids, in arrays under the names of cocotalk_label.h5.

    labels [M, 16] are padded with zeros; label_start_ix and label_end_ix [N] count an image's rows from 1, inclusive;
    label_length [M]; ids [N] names the images.

    \b
    capreward vocabulary labels dataset_coco.json -v cocotalk.json -o cocotalk_label.npz
    """
    given = SentenceOptions.of(options)
    _check(output, ".npz")
    from capreward.text.vocabulary import WordNumbers, words_of_file
    from capreward.text.word_id_labels import Labels

    numbers = WordNumbers(words_of_file(words))
    images = _sentences(captions, given)
    found = Labels.of([i.key for i in images], [i.sentences for i in images], numbers, max_length)
    found.save(output)
    rows, longest = found.labels.shape
    click.echo(f"{output}: {rows:,} captions of {len(images):,} images, {longest} ids each", err=True)


def _sentences(captions: Path, options: SentenceOptions) -> list[ImageSentences]:
    """Read the captions as words, image by image."""
    from capreward.data.tokenized_captions import read_sentences

    return read_sentences(
        captions,
        split=options.split,
        format=options.format,
        id_column=options.id_column,
        caption_column=options.caption_column,
    )


def _image(image: ImageSentences) -> dict[str, str | int]:
    """Return an image as cocotalk.json lists it; an id that is a number stays one."""
    key = int(image.key) if image.key.isdigit() and image.key == str(int(image.key)) else image.key
    known = {"split": image.split, "file_path": image.file_path}
    return {"id": key, **{name: value for name, value in known.items() if value}}


def _check(output: Path, ending: str) -> None:
    """Refuse a file that cannot be written, before any work is done."""
    if not output.parent.is_dir():
        raise InputError(f"-o {output}: there is no folder {output.parent}")
    if output.suffix != ending:
        raise InputError(f"-o {output}: the name must end in {ending}")
