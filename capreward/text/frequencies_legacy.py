"""Document frequencies over a vocabulary: counted as CLIP-Caption-Reward counts them, and read from its pickles."""

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
    """Count in how many images' captions each n-gram of ids (or known words) occurs, as prepro_ngrams does.

    Captions are not cut, and all of them end in the end token.

    Args:
        paths: files of captions; an image in two of them has the captions of both.
        tokenizer: whose vocabulary and kind count.
        source: the name that signatures give them.
        options: as for ``capreward.data.sentences.read_sentences``.
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
    """Read ``coco-train-idxs.p``, ``coco-train-words.p`` or ``coco-val-df.p``; nothing in the file is run.

    CLIP-Caption-Reward's (ruotianluo's) hold ``{document_frequency: {n-gram: images}, ref_len: images}``, vrama91's the
    table alone: how many images it is of stands in that program (40,504 for ``coco-val-df.p``).

    Args:
        path: the pickle.
        vocabulary: that its ids are of, to be known by.
        images: the number of images, where the file does not say it.
        tokenizer: what the captions of a table alone went through.

    Raises:
        InputError: no such file, a pickle that names code or other classes, no such table, or a number of images that
            is missing, given twice or too small.
    """
    content = _unpickled(Path(path))
    plain = "document_frequency" not in content
    grams = _grams(content if plain else content["document_frequency"], str(path))
    count = _images(images if plain else content["ref_len"], grams, str(path), plain=plain)
    if not plain and images is not None:
        raise InputError(f"{path} says itself that it is of {count:,} images; leave --images out")
    words = [gram[0] for gram in grams if len(gram) == 1]
    if plain:
        grams = _with_parts(grams)
    kind = IDS if all(word.isdigit() for word in words) else WORDS
    if plain and kind == WORDS and vocabulary is None:
        name = f"{tokenizer}{ENDED}" if (END,) in grams else tokenizer
    else:
        _check_vocabulary(words, kind, vocabulary, str(path))
        name = kind if vocabulary is None else VocabularyTokenizer(vocabulary, kind).name
    numbered, counts = _numbered(grams, str(path))
    return DocumentFrequencies(numbered, counts, count, name, Path(path).name)


def _images(images: Any, grams: Grams, where: str, *, plain: bool) -> int:
    """The number of images, checked."""
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


def _with_parts(grams: Grams) -> Grams:
    """Each n-gram's first n-1 words and its last word as well, which occur in no image where the table lacks them."""
    found = dict(grams)
    for gram in grams:
        for n in range(1, len(gram)):
            found.setdefault(gram[:n], 0)
            found.setdefault(gram[n : n + 1], 0)
    return found


def _unpickled(path: Path) -> dict[Any, Any]:
    from capreward.encoders.checkpoints.unpickler import RestrictedUnpickler

    reason = ""
    try:
        with path.open("rb") as file:
            reader = RestrictedUnpickler(file, _no_storage, encoding="utf-8")
            try:
                found = reader.load()
            except Exception as error:  # bytes of a stranger: whatever the pickle machine stumbles over is one sentence
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


def _grams(table: Any, where: str) -> Grams:
    """The n-grams with their counts, checked."""
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


def _numbered(grams: Grams, where: str) -> tuple[NgramTable, list[Ints]]:
    """The n-grams as a table, and their counts in its order."""
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
