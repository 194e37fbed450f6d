"""Views of what is made from captions: document frequencies, vocabularies, labels, and sets of shards by name."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capreward.errors import InputError
from capreward.inspection.views import LookOptions, View, command_text, count_text

_ANY = 1 << 31  # a number of images above every count in a table, with which the rest of the table can be checked
LABELS = frozenset({"labels", "label_start_ix", "label_end_ix", "label_length"})


def archive_members(path: str) -> frozenset[str]:
    """Return the names of the arrays in a NumPy archive, or of the members of another zip file.

    The set is empty if the file is no zip file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return frozenset(name.removesuffix(".npy") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return frozenset()


def frequency_view(path: str) -> View:
    """Return the view of document frequencies that ``capreward df build`` wrote.

    Raises:
        InputError: If the file is of another kind, or is damaged.
    """
    from capreward.text.frequencies import DocumentFrequencies

    found = DocumentFrequencies.load(path)
    rows = _order_rows(found)
    line = f"{path}: document frequencies of {count_text(found.n_images, 'image')}, tokenizer {found.tokenizer}"
    uses = (
        ("metric", command_text("score", "CAPTIONS", "-r", "REFERENCES", "-m", f"cider-d(df={path})")),
        ("reward", command_text("train", "--reward", f"cider-d(df={path})")),
    )
    facts = {"images": found.n_images, "tokenizer": found.tokenizer, "digest": found.digest}
    return View("document frequencies", line, rows, uses, facts=facts)


def pickle_view(path: str) -> View:
    """Return the view of document frequencies in a pickle; no code in it is run.

    Raises:
        InputError: If the pickle holds something else.
    """
    from capreward.text.frequencies_legacy import read_frequency_pickle

    try:
        found = read_frequency_pickle(path)
    except InputError:
        return _view_without_image_count(path)
    images = count_text(found.n_images, "image")
    line = f"{path}: pickle of document frequencies of {images}, counted over {found.tokenizer}"
    target = str(Path(path).with_suffix(".npz"))
    words = () if found.tokenizer == "words" else ("-v", "VOCABULARY")
    uses = (("convert it first", command_text("df", "convert", path, target, *words)),)
    return View("document frequencies", line, _order_rows(found), uses, facts={"images": found.n_images})


def _view_without_image_count(path: str) -> View:
    """Return the view of a pickle of document frequencies that does not give its number of images.

    Raises:
        InputError: If the pickle holds something else.
    """
    from capreward.text.frequencies_legacy import read_frequency_pickle

    found = read_frequency_pickle(path, images=_ANY)
    line = f"{path}: pickle of document frequencies that does not say how many images it is of"
    command = command_text("df", "convert", path, str(Path(path).with_suffix(".npz")), "--images", "N")
    notes = ("vrama91's coco-val-df.p is of 40504 images",)
    return View("document frequencies", line, _order_rows(found), (("convert it first", command),), notes)


def vocabulary_view(path: str, value: Mapping[str, Any], asked: LookOptions) -> View:
    """Return the view of a vocabulary of whole words.

    Raises:
        InputError: If the numbers of the words have gaps.
    """
    from capreward.text.vocabulary import words_of_file

    words = words_of_file(path)
    source = "ix_to_word" if "ix_to_word" in value else "words"
    rows = tuple({"number": number, "word": word} for number, word in enumerate(words[: asked.rows], 1))
    unknown = f", the last {words[-1]}" if words[-1] == "UNK" else ""
    line = f"{path}: vocabulary of {count_text(len(words), 'word')} ({source}){unknown}"
    uses = (
        ("captions as ids", command_text("vocabulary", "labels", "CAPTIONS", "-v", path, "-o", "labels.npz")),
        ("document frequencies", command_text("df", "build", "REFERENCES", "-v", path, "--ids", "-o", "df.npz")),
    )
    return View("vocabulary", line, rows, uses, facts={"words": len(words)})


def label_view(path: str) -> View:
    """Return the view of captions as rows of word ids, which ``capreward vocabulary labels`` wrote.

    Raises:
        InputError: If the file is damaged.
    """
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            rows, longest = file["labels"].shape
            images = len(file["label_start_ix"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}); write it again") from error
    line = f"{path}: {count_text(rows, 'caption')} of {count_text(images, 'image')} as word ids, {longest} each"
    return View("labels", line, facts={"captions": int(rows), "images": images})


def shard_set_view(path: str, value: Mapping[str, Any], asked: LookOptions) -> View:
    """Return the view of sets of shards by name, as ``capreward pack`` writes them; no shard is opened."""
    rows = tuple({"set": name, "shards": shards} for name, shards in list(value.items())[: asked.rows])
    uses = tuple(("train", command_text("train", "--data", f"{path}:{name}")) for name in list(value)[:3])
    return View(
        "sets of shards", f"{path}: {count_text(len(value), 'set')} of shards", rows, uses, facts={"sets": [*value]}
    )


def are_shard_sets(value: Mapping[str, Any]) -> bool:
    """Return whether an object maps names to patterns of tar shards."""
    patterns = [one for item in value.values() for one in (item if isinstance(item, list) else [item])]
    return bool(patterns) and all(isinstance(one, str) and one.lower().endswith(".tar") for one in patterns)


def _order_rows(found: Any) -> tuple[dict[str, str], ...]:
    return tuple(
        {"n-grams of": f"{n} words" if n > 1 else "1 word", "kinds": f"{size:,}"}
        for n, size in enumerate(found.table.sizes, 1)
    )
