"""Document frequencies in the form of CLIP-Caption-Reward: counted over a vocabulary, or read from its pickles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from capreward.errors import InputError, shorten
from capreward.samples import Samples
from capreward.text.corpus import ORDER, reference_grams
from capreward.text.frequencies import DocumentFrequencies
from capreward.text.ngrams import BASE, Ints, NgramTable
from capreward.text.tokenizers import ENDED, NoTokenizer
from capreward.text.vocabulary import END, IDS, WORDS, VocabularyTokenizer, WordNumbers

Grams = dict[tuple[str, ...], int]


def frequencies_of_vocabulary(
    paths: Sequence[str | Path],
    tokenizer: VocabularyTokenizer,
    *,
    source: str,
    **options: Any,
) -> DocumentFrequencies:
    """Count the images in whose captions each n-gram of ids (or known words) occurs, as prepro_ngrams does.

    Captions are not cut, and all of them end in the end token.

    Args:
        paths: The files of captions; an image in two of them has the captions of both.
        tokenizer: The tokenizer, of which the vocabulary and the kind are used.
        source: The name of the frequencies in signatures.
        options: The options of ``capreward.data.sentences.read_sentences``.
    """
    from capreward.data.sentences import read_sentences

    images: dict[str, list[str]] = {}
    for path in paths:
        for image in read_sentences(path, **options):
            texts = [tokenizer.vocabulary.text(words, tokenizer.kind, end=True) for words in image.sentences]
            images.setdefault(image.key, []).extend(texts)
    samples = Samples([], references=list(images.values()), item=[])
    return replace(DocumentFrequencies.of(reference_grams(samples, NoTokenizer()), source), tokenizer=tokenizer.name)


def read_frequency_pickle(
    path: str | Path, vocabulary: WordNumbers | None = None, *, images: int | None = None, tokenizer: str = "ptb"
) -> DocumentFrequencies:
    """Read ``coco-train-idxs.p``, ``coco-train-words.p`` or ``coco-val-df.p``; no code in the file is run.

    The files of CLIP-Caption-Reward (ruotianluo) hold ``{document_frequency: {n-gram: images}, ref_len: images}``. The
    file of vrama91 holds the table alone; its number of images stands in the program (40,504 for ``coco-val-df.p``).

    Args:
        path: The pickle.
        vocabulary: The vocabulary of the ids or words, by which the frequencies are named; None leaves it unnamed.
        images: The number of images, if the file does not give it.
        tokenizer: The name of the tokenizer of the captions, if the file holds the table alone.

    Raises:
        InputError: If there is no such file, if the pickle names code or other classes, if it holds no such table, or
            if the number of images is missing, given twice or too small.
    """
    content = _load_pickle(Path(path))
    plain = "document_frequency" not in content
    grams = _checked_grams(content if plain else content["document_frequency"], str(path))
    count = _image_count(images if plain else content["ref_len"], grams, str(path), plain=plain)
    if not plain and images is not None:
        raise InputError(f"{path} says itself that it is of {count:,} images; leave --images out")
    words = [gram[0] for gram in grams if len(gram) == 1]
    if plain:
        grams = _add_parts(grams)
    kind = IDS if all(word.isdigit() for word in words) else WORDS
    if plain and kind == WORDS and vocabulary is None:
        name = f"{tokenizer}{ENDED}" if (END,) in grams else tokenizer
    else:
        _check_vocabulary(words, kind, vocabulary, str(path))
        name = kind if vocabulary is None else VocabularyTokenizer(vocabulary, kind).name
    numbered, counts = _ngram_table(grams, str(path))
    return DocumentFrequencies(numbered, counts, count, name, Path(path).name)


def _image_count(images: Any, grams: Grams, where: str, *, plain: bool) -> int:
    """Check the number of images and return it."""
    if plain and images is None:
        raise InputError(
            f"{where} is a table of n-grams that does not say how many images it is of; give --images N "
            "(40504 for vrama91's coco-val-df.p)"
        )
    name = "--images" if plain else "ref_len"
    if not isinstance(images, (int, float)) or isinstance(images, bool) or images < 1 or images != int(images):
        raise InputError(f"{where}: {name} is {images!r}; it must be the number of images")
    gram, most = max(grams.items(), key=lambda entry: entry[1])
    if plain and most > images:
        raise InputError(f"{where} counts {' '.join(gram)!r} in {most:,} images, and --images says {int(images):,}")
    return int(images)


def _add_parts(grams: Grams) -> Grams:
    """Add the first n-1 words and the last word of each n-gram, with a count of 0 if the table lacks them."""
    found = dict(grams)
    for gram in grams:
        for n in range(1, len(gram)):
            found.setdefault(gram[:n], 0)
            found.setdefault(gram[n : n + 1], 0)
    return found


def _load_pickle(path: Path) -> dict[Any, Any]:
    from capreward.encoders.checkpoints.unpickler import RestrictedUnpickler

    reason = ""
    try:
        with path.open("rb") as file:
            reader = RestrictedUnpickler(file, _no_storage, encoding="utf-8")
            try:
                found = reader.load()
            except Exception as error:  # the bytes may be anything, so any error of the unpickler becomes one sentence
                found, reason = None, f" ({type(error).__name__})"
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if reader.code or reader.unknown:
        names = shorten(list(dict.fromkeys([*reader.code, *reader.unknown])))
        raise InputError(f"{path} is a pickle that names {names}; nothing was run, and the file is not to be trusted")
    if isinstance(found, dict) and found:
        table: dict[Any, Any] = found
        if {"document_frequency", "ref_len"} <= set(table) or all(isinstance(gram, tuple) for gram in table):
            return table
    raise InputError(f"{path} is no pickle of document_frequency and ref_len, nor of a table of n-grams{reason}")


def _no_storage(pid: Any) -> NoReturn:
    raise ValueError(f"a tensor {pid!r} among n-grams")


def _checked_grams(table: Any, where: str) -> Grams:
    """Check the n-grams and their counts, and return them."""
    if not isinstance(table, Mapping) or not table:
        raise InputError(f"{where}: document_frequency is no table of n-grams")
    found: Grams = {}
    for gram, count in table.items():
        words = tuple(map(str, gram)) if isinstance(gram, tuple) else ()
        if not 1 <= len(words) <= ORDER or any(not word or word.split() != [word] for word in words):
            raise InputError(f"{where}: {gram!r} is no n-gram of 1 to {ORDER} words")
        if not isinstance(count, (int, float)) or count != int(count) or count < 0:
            raise InputError(f"{where}: {gram!r} occurs in {count!r} images; it must be a whole number")
        found[words] = int(count)
    return found


def _check_vocabulary(words: Sequence[str], kind: str, vocabulary: WordNumbers | None, where: str) -> None:
    if vocabulary is None:
        return
    size = len(vocabulary.words)
    if kind == IDS:
        strange = [word for word in words if int(word) > size]
    else:
        strange = [word for word in words if word != END and vocabulary.known([word]) != [word]]
    if strange:
        raise InputError(
            f"{where} counts {shorten(strange)}, which the vocabulary of {size:,} words does not have; give the one "
            "that it was built with"
        )


def _ngram_table(grams: Grams, where: str) -> tuple[NgramTable, list[Ints]]:
    """Return the n-grams as a table, and their counts in the order of the table."""
    numbers: dict[tuple[str, ...], int] = {}
    vocabulary: dict[str, int] = {}
    for gram in grams:
        if len(gram) == 1:
            numbers[gram] = vocabulary[gram[0]] = len(vocabulary)
    counts = [np.array([grams[gram] for gram in numbers], dtype=np.int64)]
    keys: list[Ints] = []
    for n in range(2, ORDER + 1):
        listed = [gram for gram in grams if len(gram) == n]
        try:
            pairs = [numbers[gram[:-1]] * int(BASE) + vocabulary[gram[-1]] for gram in listed]
        except KeyError as error:
            raise InputError(f"{where} has n-grams whose part {error} it does not have; it is damaged") from error
        order = np.argsort(np.array(pairs, dtype=np.int64), kind="stable")
        keys.append(np.array(pairs, dtype=np.int64)[order])
        counts.append(np.array([grams[gram] for gram in listed], dtype=np.int64)[order])
        numbers = {listed[place]: number for number, place in enumerate(order.tolist())}
    return NgramTable(vocabulary, tuple(keys)), counts
