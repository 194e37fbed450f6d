"""The JSON layouts: COCO results and annotations, dictionaries, Karpathy's splits, lists of records, JSON lines."""

from __future__ import annotations

from collections.abc import Iterator

from capreward.data.columns import (
    CAPTION_COLUMNS,
    ID_COLUMNS,
    REFERENCE_COLUMNS,
    add_alias,
    as_record,
    first_of,
    from_records,
    value_column,
)
from capreward.data.files import Content
from capreward.data.formats_text import each_line
from capreward.data.json_text import JsonParser
from capreward.data.rows import Options, Parsed, describe, id_text
from capreward.errors import InputError, shorten

Row = tuple[int, object, object]


def json_layout(value: object, source: str) -> str:
    """Name the layout of a parsed JSON file.

    Raises:
        InputError: If it is none that holds captions.
    """
    if isinstance(value, list):
        if not value:
            raise InputError(f"{source} is an empty list; it should hold captions")
        first = value[0]
        return "coco-results" if isinstance(first, dict) and {"image_id", "caption"} <= first.keys() else "list"
    if not isinstance(value, dict):
        raise InputError(f"{source} holds only {describe(value)}; it should hold captions")
    if not value:
        raise InputError(f"{source} is an empty object; it should hold captions")
    if isinstance(value.get("annotations"), list):
        return "coco"
    images = value.get("images")
    if isinstance(images, list) and images and isinstance(images[0], dict):
        return "karpathy" if "sentences" in images[0] else "coco"
    one_row = first_of(ID_COLUMNS, value) and first_of((*CAPTION_COLUMNS, *REFERENCE_COLUMNS), value)
    return "jsonl" if one_row else "dict"


def read_list(content: Content, options: Options) -> Parsed:
    """Read a JSON list: records with named columns, or bare captions whose place is their id."""
    rows = content.json()
    if not isinstance(rows, list):
        raise InputError(f"{content.source} is {describe(rows)}; this format is a JSON list")
    if rows and isinstance(rows[0], str | list):
        return Parsed(((place, place, value) for place, value in enumerate(rows, 1)), "row", aligned=True)
    return from_records(enumerate(rows, 1), "row", options, content.source)


def read_json_lines(content: Content, options: Options) -> Parsed:
    """Read one JSON object per line; blank lines are passed over."""

    def records() -> Iterator[tuple[int, object]]:
        parser = JsonParser(content.source)
        for number, line in enumerate(each_line(content.text), 1):
            if line and not line.isspace():
                yield number, parser.parse(line, f"line {number}")

    return from_records(records(), "line", options, content.source)


def read_coco(content: Content, options: Options) -> Parsed:
    """Read COCO caption annotations; the file names in "images" are aliases of the ids."""
    value = content.json()
    annotations = value.get("annotations") if isinstance(value, dict) else None
    if not isinstance(annotations, list) or not annotations:
        raise InputError(f'{content.source} has no "annotations" list with captions in it, as COCO caption files have')
    first = annotations[0]
    if isinstance(first, dict) and "caption" not in first and options.caption_column is None:
        raise InputError(
            f'{content.source}: its annotations have no "caption" but {shorten([repr(name) for name in first], 8)}; '
            "give the captions_*.json file of the data set"
        )
    parsed = from_records(enumerate(annotations, 1), "annotation", options, content.source)
    images = value.get("images") if isinstance(value, dict) else None
    for image in images if isinstance(images, list) else []:
        if isinstance(image, dict) and isinstance(image.get("file_name"), str):
            add_alias(parsed.aliases, image["file_name"], id_text(image.get("id")))
    return parsed


def read_karpathy(content: Content, options: Options) -> Parsed:
    """Read Karpathy's dataset_coco.json, dataset_flickr8k.json and dataset_flickr30k.json: one split of it."""
    value = content.json()
    images = value.get("images") if isinstance(value, dict) else None
    if not isinstance(images, list):
        raise InputError(f'{content.source} has no "images" list, as Karpathy\'s dataset files have')
    records = [as_record(image, place, "image", content.source) for place, image in enumerate(images, 1)]
    wanted = _wanted_splits([str(record.get("split")) for record in records], options.split, content.source)
    aliases: dict[str, str | None] = {}

    def rows() -> Iterator[Row]:
        for place, record in enumerate(records, 1):
            if str(record.get("split")) not in wanted:
                continue
            name = record.get("filename")
            raw = record.get("cocoid", name)
            if isinstance(name, str):
                add_alias(aliases, name, id_text(raw))
            sentences = record.get("sentences")
            if not isinstance(sentences, list):
                raise InputError(f'{content.source}, image {place} ({name}): it has no "sentences" list')
            yield place, raw, [_sentence(item) for item in sentences]

    return Parsed(rows(), "image", aliases)


def _wanted_splits(present: list[str], split: str | None, source: str) -> set[str]:
    names = list(dict.fromkeys(present))
    listed = ", ".join(f"{name} ({present.count(name):,} images)" for name in names)
    if split is None:
        if len(names) > 1:
            raise InputError(f"{source} has several splits: {listed}; choose with --split, for example --split test")
        return set(names)
    wanted = set(split.split("+"))
    absent = sorted(wanted - set(names))
    if absent:
        raise InputError(f"{source} has no split {' or '.join(absent)}; it has {listed}; join several with +")
    return wanted


def _sentence(item: object) -> object:
    if not isinstance(item, dict):
        return item
    if "raw" in item:
        return item["raw"]
    tokens = item.get("tokens")
    return " ".join(map(str, tokens)) if isinstance(tokens, list) else None


def read_dict(content: Content, options: Options) -> Parsed:
    """Read ``{id: caption}``, ``{id: [captions]}``, or CLIPScore's judgements ``{id: {"human_judgement": ...}}``."""
    value = content.json()
    if not isinstance(value, dict):
        raise InputError(f"{content.source} is {describe(value)}; this format is a JSON object of ids and captions")
    first = next(iter(value.values()), None)
    if isinstance(first, dict) and "human_judgement" in first:
        return _read_judgements(value, options, content.source)

    def rows() -> Iterator[Row]:
        for place, (key, captions) in enumerate(value.items(), 1):
            if isinstance(captions, dict):
                yield place, key, captions[value_column(list(captions), options, f"{content.source}, entry {place}")]
            else:
                yield place, key, captions

    return Parsed(rows(), "entry")


def _read_judgements(value: dict[str, object], options: Options, source: str) -> Parsed:
    aliases: dict[str, str | None] = {}

    def references() -> Iterator[Row]:
        for place, (key, item) in enumerate(value.items(), 1):
            record = as_record(item, place, "entry", source)
            yield place, key, record.get("ground_truth")

    def judgements() -> Iterator[Row]:
        place = 0
        for number, (key, item) in enumerate(value.items(), 1):
            judged = as_record(item, number, "entry", source).get("human_judgement")
            if not isinstance(judged, list):
                raise InputError(f'{source}, entry {number} (id {key}): it has no "human_judgement" list')
            for judgement in judged:
                place += 1
                yield place, key, as_record(judgement, place, "judgement", source).get("caption")

    for number, (key, item) in enumerate(value.items(), 1):
        name = as_record(item, number, "entry", source).get("image_path")
        if isinstance(name, str):
            add_alias(aliases, name, key)
    return Parsed(references(), "entry", aliases) if options.references else Parsed(judgements(), "judgement", aliases)
