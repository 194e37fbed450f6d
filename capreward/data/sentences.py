"""Captions of a data set as lists of words, image by image; Karpathy's own tokens are used where a file has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capreward.data.file_content import load_content
from capreward.data.formats.registry import recognise
from capreward.data.rows import Options, id_text, split_rows
from capreward.data.tables import as_record
from capreward.errors import InputError
from capreward.text.vocabulary import split_words

FLAGS = "--{name}"  # how the commands that read captions as words spell their options


@dataclass(frozen=True)
class ImageSentences:
    """One image and its captions.

    Attributes:
        key: The id of the image.
        split: The split that the image belongs to; empty if the file has no splits.
        file_path: The path of the picture file; empty if the file of captions does not give it.
        sentences: The captions, each as a list of words.
    """

    key: str
    split: str
    file_path: str
    sentences: list[list[str]]


def read_sentences(
    path: str | Path,
    split: str | None = None,
    format: str | None = None,
    *,
    id_column: str | None = None,
    caption_column: str | Sequence[str] | None = None,
) -> list[ImageSentences]:
    """Read captions as words, in file order.

    Args:
        path: A Karpathy file (``dataset_coco.json``), or any file of references, whose captions are then split as
            Karpathy's are: lower case, punctuation deleted.
        split: The split to read, such as ``test``; ``train+restval`` joins two; None reads all of a Karpathy file, as
            the published vocabularies do.
        format: The name of the file's format; None recognises it by the content.
        id_column: The name of the column of ids; None takes a usual name.
        caption_column: The name of the column of captions, or several, whose captions add up; None takes a usual name.

    Raises:
        InputError: If the file cannot be used, or if it does not have the split.
    """
    content = load_content(path)
    options = Options(references=True, id_column=id_column, caption_column=caption_column, flags=FLAGS)
    if (format or recognise(content, options)) == "karpathy":
        return _karpathy_sentences(content.json(), split, content.source)
    from capreward.data.captions import read_references

    columns: dict[str, Any] = {"id_column": id_column, "caption_column": caption_column}
    found = read_references(path, format=format, split=split, flags=FLAGS, **columns)
    names = {key: name for name, key in found.aliases.items()}
    return [
        ImageSentences(key, "", names.get(key, ""), [split_words(caption) for caption in captions])
        for key, captions in found.references.items()
    ]


def _karpathy_sentences(value: Any, split: str | None, source: str) -> list[ImageSentences]:
    images = value.get("images") if isinstance(value, dict) else None
    if not isinstance(images, list):
        raise InputError(f'{source} has no "images" list, as Karpathy\'s dataset files have')
    records = [as_record(image, place, "image", source) for place, image in enumerate(images, 1)]
    present = dict.fromkeys(str(record.get("split")) for record in records)
    wanted = set(present) if split is None else split_rows(split)
    if absent := sorted(wanted - set(present)):
        raise InputError(f"{source} has no split {' or '.join(absent)}; it has {', '.join(present)}; join several by +")
    found = []
    for place, record in enumerate(records, 1):
        if str(record.get("split")) in wanted:
            found.append(_image_sentences(record, place, source))
    return found


def _image_sentences(record: Any, place: int, source: str) -> ImageSentences:
    key = next((id_text(record[name]) for name in ("cocoid", "imgid", "filename") if name in record), None)
    listed = record.get("sentences")
    if key is None or not isinstance(listed, list) or not listed:
        raise InputError(f"{source}, image {place}: it has no id or no sentences")
    sentences = []
    for item in listed:
        tokens = item.get("tokens") if isinstance(item, dict) else None
        raw = item.get("raw") if isinstance(item, dict) else item
        if not isinstance(tokens, list) and not isinstance(raw, str):
            raise InputError(f"{source}, image {place} (id {key}): a sentence has neither tokens nor raw text")
        sentences.append([str(token) for token in tokens] if isinstance(tokens, list) else split_words(str(raw)))
    folder, name = record.get("filepath"), record.get("filename")
    path = "/".join(part for part in (folder, name) if isinstance(part, str) and part)
    return ImageSentences(key, str(record.get("split")), path, sentences)
