"""``capreward df``: document-frequency files, what makes CIDEr a reward."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.command_classes import Group
from capreward.commands.caption_options import ReadingOptions, reading_of_captions, split_option
from capreward.errors import InputError

if TYPE_CHECKING:
    from capreward.data.file_report import FileReport
    from capreward.text.document_frequencies import DocumentFrequencies
    from capreward.text.vocabulary import VocabularyTokenizer


@dataclass(frozen=True)
class BuildOptions(ReadingOptions):
    """These are the options of ``capreward df build``.

    Attributes:
        split: The references of this split are read, such as those of ``test``; None reads a file that has no splits.
        tokenizer: The references go through the tokenizer of this name where there is no vocabulary.
        vocabulary: The words of the vocabulary in this file are counted; None counts the words of a tokenizer.
        ids: True counts the ids of the vocabulary in place of its words.
        eos: True ends every reference in an end token.
    """

    split: str | None
    tokenizer: str
    vocabulary: Path | None
    ids: bool
    eos: bool


@click.group(cls=Group)
def df() -> None:
    """Build, convert and show document-frequency files for CIDEr rewards."""


@df.command()
@click.argument("references", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="The .npz file to write.")
@reading_of_captions
@split_option("references")
@click.option("--tokenizer", default="ptb", show_default=True, help="See capreward ls tokenizers.")
@click.option(
    "-v",
    "--vocabulary",
    type=click.Path(path_type=Path),
    help="Count words of this vocabulary (with ix_to_word) and <eos>, in place of a tokenizer's.",
)
@click.option("--ids", is_flag=True, help="With --vocabulary: count ids in place of words.")
@click.option("--eos", is_flag=True, help="End every reference in <eos>, for cider-d(eos=true).")
def build(references: tuple[Path, ...], output: Path, **options: Any) -> None:
    """Make the file of document frequencies that CIDEr needs as a reward, or where few images are scored.

    For each n-gram it counts the images whose references hold it.

    With --vocabulary the counts are those of CLIP-Caption-Reward's prepro_ngrams: Karpathy's tokens, UNK in place of
    other words, and an end token after each caption.

    \b
    capreward df build dataset_coco.json --split train+restval -o coco-train.npz
    capreward score captions.json -r refs.json -m "cider-d(df=coco-train.npz)"
    capreward df build dataset_coco.json --split train+restval -v cocotalk.json --ids -o coco-train-idxs.npz
    capreward train --optimizer scst --reward "cider-d(df=coco-train-idxs.npz,vocabulary=cocotalk.json)"
    """
    given = BuildOptions.of(options)
    _check(output)
    if given.ids and given.vocabulary is None:
        raise InputError("--ids counts the ids of a vocabulary; name it with --vocabulary")
    from capreward.evaluators.cider import frequencies_of_files

    reports: list[FileReport] = []
    found = frequencies_of_files(
        references,
        _tokenizer(given),
        source=output.name,
        eos=given.eos,
        reports=reports,
        format=given.format,
        split=given.split,
        id_column=given.id_column,
        caption_column=given.caption_column,
    )
    for report in reports:
        click.echo(report, err=True)
    found.save(output)
    click.echo(_summary(found, output), err=True)


@df.command()
@click.argument("pickled", type=click.Path(path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("-v", "--vocabulary", type=click.Path(path_type=Path), help="With ix_to_word, to know its ids by.")
@click.option("--images", type=int, help="How many images a table alone (vrama91's) is of; it does not say.")
@click.option("--tokenizer", default="ptb", show_default=True, help="What the captions of such a table went through.")
def convert(pickled: Path, output: Path, vocabulary: Path | None, images: int | None, tokenizer: str) -> None:
    """Write a pickle of document frequencies as a file of capreward; nothing in it is run.

    Read are those of CLIP-Caption-Reward and ruotianluo's cider (document_frequency and ref_len) and those of vrama91's
    cider (a table alone).

    \b
    capreward df convert coco-train-idxs.p coco-train-idxs.npz --vocabulary cocotalk.json
    capreward df convert coco-val-df.p coco-val-df.npz --images 40504
    """
    _check(output)
    from capreward.text.pickled_frequencies import read_frequency_pickle
    from capreward.text.tokenizers import tokenizer_of
    from capreward.text.vocabulary import WordNumbers, words_of_file

    numbers = None if vocabulary is None else WordNumbers(words_of_file(vocabulary))
    found = read_frequency_pickle(pickled, numbers, images=images, tokenizer=tokenizer_of(tokenizer).name)
    found.save(output)
    click.echo(_summary(found, output), err=True)


@df.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output.")
def show(file: Path, as_json: bool) -> None:
    """Show what a document-frequency file holds."""
    from capreward.text.document_frequencies import DocumentFrequencies

    found = DocumentFrequencies.load(file)
    if as_json:
        sizes: list[Any] = found.table.sizes
        fields = {"images": found.n_images, "ngrams": sizes, "tokenizer": found.tokenizer, "digest": found.digest}
        click.echo(json.dumps(fields))
    else:
        click.echo(_summary(found, file))


def _tokenizer(options: BuildOptions) -> str | VocabularyTokenizer:
    """Return the tokenizer of the vocabulary, or the name of another where there is no vocabulary."""
    if options.vocabulary is None:
        return options.tokenizer
    from capreward.text.vocabulary import IDS, WORDS, VocabularyTokenizer, WordNumbers, words_of_file

    numbers = WordNumbers(words_of_file(options.vocabulary))
    return VocabularyTokenizer(numbers, IDS if options.ids else WORDS)


def _check(output: Path) -> None:
    """Refuse a file that cannot be written, before any work is done."""
    if not output.parent.is_dir():
        raise InputError(f"{output}: there is no folder {output.parent}")
    if output.suffix != ".npz":
        raise InputError(f"{output}: the name must end in .npz")


def _summary(frequencies: DocumentFrequencies, path: Path) -> str:
    """Return a line on what a file of document frequencies holds."""
    sizes = ", ".join(f"{s:,} {n}-grams" for n, s in enumerate(frequencies.table.sizes, start=1))
    return (
        f"{path}: {frequencies.n_images:,} images, {sizes}, tokenizer {frequencies.tokenizer}, "
        f"digest {frequencies.digest}"
    )
