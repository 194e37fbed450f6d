"""Readers of the JSON layouts: COCO results and annotations, Karpathy's splits, MSR-VTT, objects, lists, JSON lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from capreward.data.cells import parse_cell
from capreward.data.columns import ROW, column_names_text
from capreward.data.file_content import Content
from capreward.data.file_report import Findings
from capreward.data.formats.json_layouts import columns_in, json_layout, nested_in, records_in
from capreward.data.formats.text import each_line
from capreward.data.json_text import JsonParser
from capreward.data.roles import ID_ROLES, is_media_name, role_of
from capreward.data.rows import Options, ParsedFile, add_alias, caption_text, describe, id_text, split_rows
from capreward.data.table_rows import parse_table
from capreward.data.tables import ColumnTable, KeyedTable, RecordTable, as_record
from capreward.errors import InputError

SPLITS = frozenset({"train", "val", "test", "dev", "valid", "validation", "restval", "trainval", "minival"})
Row = tuple[int, object, object]


def read_list(content: Content, options: Options) -> ParsedFile:
    """Read a JSON list of records with named columns, or of captions alone, whose place in the list is their id.

    Raises:
        InputError: If the file is no list, or if it could hold pairs of an id and a caption.
    """
    rows = content.json()
    if not isinstance(rows, list):
        raise InputError(f"{content.source} is {describe(rows)}; this format is a JSON list")
    if rows and isinstance(rows[0], str | list):
        _refuse_columns(options, content.source, "a list of bare captions")
        found = Findings(id="the place in the list", captions="the list")
        _refuse_pairs(rows, content.source)
        places = (
            (place, place, _parse_spelt_list(value, found, content.source)) for place, value in enumerate(rows, 1)
        )
        return ParsedFile(places, "row", aligned=True, findings=found)
    return parse_table(RecordTable(enumerate(rows, 1), "row", content.source), options)


def _refuse_pairs(rows: list[object], source: str) -> None:
    """Refuse ``[[id, caption], ...]``, since each pair could also be two captions."""
    pairs = [row for row in rows if isinstance(row, list) and len(row) == 2]
    if len(pairs) == len(rows) and all(
        isinstance(row[0], int) or is_media_name(str(row[0])) or str(row[0]).isdigit() for row in pairs
    ):
        raise InputError(
            f"{source} could be pairs of an id and a caption, or two captions per line; write objects such as "
            '{"image_id": 42, "caption": "a dog"}'
        )


def read_json_lines(content: Content, options: Options) -> ParsedFile:
    """Read one JSON object per line; blank lines are passed over."""
    return parse_table(lines_table(content), options)


def lines_table(content: Content) -> RecordTable:
    """Return the table of the records of JSON lines; the file is parsed only once."""

    def records() -> Iterator[tuple[int, object]]:
        parser = JsonParser(content.source)
        for number, line in enumerate(each_line(content.text), 1):
            if line and not line.isspace():
                yield number, parser.parse(line, f"line {number}")

    return content.once("lines", lambda: RecordTable(records(), "line", content.source))


def read_columns(content: Content, options: Options) -> ParsedFile:
    """Read columns of equal length: ``{"image_id": [...], "caption": [...]}``, as pandas and datasets write them."""
    return parse_table(ColumnTable(columns_in(content.json(), content.source), content.source), options)


def read_wrapped(content: Content, options: Options) -> ParsedFile:
    """Read captions that lie beside other values: ``{"info": ..., "data": [...]}``, or a list of records per split.

    Raises:
        InputError: If there are several lists, or several splits of which the user chose none.
    """
    value = content.json()
    inner = nested_in(value) if isinstance(value, dict) else None
    if isinstance(value, dict) and inner is not None:
        return _read_nested(content, inner, value[inner], options)
    if isinstance(value, dict) and set(value) <= SPLITS and all(isinstance(item, list) for item in value.values()):
        return _read_splits(content.source, value, options)
    name, records = records_in(value, content.source)
    parsed = parse_table(RecordTable(enumerate(records, 1), "row", content.source), options)
    parsed.findings.remarks.append(f'rows from "{name}"')
    return parsed


def _read_nested(content: Content, name: str, value: object, options: Options) -> ParsedFile:
    """Read the object under a key, which must be ``{id: caption}`` or columns."""
    inside = Content(content.source, content.paths, content.kind)
    inside.once("json", lambda: value)
    layout = json_layout(value, content.source)
    if layout not in ("dict", "columns"):
        raise InputError(f'{content.source}: its "{name}" is no object of ids and captions; take out what holds them')
    parsed = read_dict(inside, options) if layout == "dict" else read_columns(inside, options)
    parsed.findings.remarks.append(f'entries from "{name}"')
    return parsed


def _read_splits(source: str, value: dict[str, list[object]], options: Options) -> ParsedFile:
    """Read records by split, ``{"train": [...], "test": [...]}``, as R2Gen's annotations have them."""
    if options.split is None and len(value) > 1:
        counts = ", ".join(f"{name} ({len(item):,} rows)" for name, item in value.items())
        raise InputError(f"{source} has several splits: {counts}; choose with --split, for example --split test")
    rows = [
        (name, as_record(item, place, "row", source)) for name in value for place, item in enumerate(value[name], 1)
    ]
    records = enumerate(({**record, "split": name} for name, record in rows), 1)
    return parse_table(RecordTable(records, "row", source), options)


def read_img_to_eval(content: Content, options: Options) -> ParsedFile:
    """Read the captions in the file that ImageCaptioning.pytorch writes of an evaluation: ``{"overall", "imgToEval"}``.

    Raises:
        InputError: If the file has no captions, or if references are wanted, of which such a file has none.
    """
    value = content.json()
    entries = value.get("imgToEval") if isinstance(value, dict) else None
    if not isinstance(entries, dict) or not entries:
        raise InputError(f'{content.source} has no "imgToEval" with captions in it')
    if options.references and not options.caption_columns:
        raise InputError(
            f"{content.source} holds the captions of a system and their scores, no references; "
            "give the file of the references"
        )
    return parse_table(KeyedTable(entries, content.source), options)


def read_msrvtt(content: Content, options: Options) -> ParsedFile:
    """Read MSR-VTT's ``videodatainfo``: videos with their splits, and sentences that name their video.

    Raises:
        InputError: If the lists are missing, or if a sentence or a video has no id.
    """
    value = content.json()
    videos, sentences = (value.get(name) if isinstance(value, dict) else None for name in ("videos", "sentences"))
    if not isinstance(videos, list) or not isinstance(sentences, list) or not sentences:
        raise InputError(f'{content.source} has no "videos" and "sentences" lists, as MSR-VTT\'s files have')
    records = [as_record(video, place, "video", content.source) for place, video in enumerate(videos, 1)]
    splits = {str(record.get("video_id")): record.get("split") for record in records}
    rows = enumerate(sentences, 1)
    if any(split is not None for split in splits.values()):
        named = (as_record(item, place, "sentence", content.source) for place, item in rows)
        rows = enumerate(({**item, "split": splits.get(str(item.get("video_id")))} for item in named), 1)
    return parse_table(RecordTable(rows, "sentence", content.source), options)


def read_coco(content: Content, options: Options) -> ParsedFile:
    """Read COCO caption annotations; the file names in "images" are aliases of the ids.

    Raises:
        InputError: If the file has no annotations, or if they have no captions.
    """
    value = content.json()
    annotations = value.get("annotations") if isinstance(value, dict) else None
    if not isinstance(annotations, list) or not annotations:
        raise InputError(f'{content.source} has no "annotations" list with captions in it, as COCO caption files have')
    first = annotations[0]
    if isinstance(first, dict) and "caption" not in first and not options.caption_columns:
        raise InputError(
            f'{content.source}: its annotations have no "caption" but {column_names_text(list(first))}; '
            "give the captions_*.json file of the data set"
        )
    table = RecordTable(enumerate(annotations, 1), "annotation", content.source)
    if options.id_column is None and "image_id" in table.names:
        options = replace(options, id_column="image_id")  # the format says so
    if not options.caption_columns:
        options = replace(options, caption_column="caption")
    parsed = parse_table(table, options)
    images = value.get("images") if isinstance(value, dict) else None
    for image in images if isinstance(images, list) else []:
        if isinstance(image, dict) and isinstance(image.get("file_name"), str):
            add_alias(parsed.aliases, image["file_name"], id_text(image.get("id")))
    return parsed


def read_karpathy(content: Content, options: Options) -> ParsedFile:
    """Read one split of Karpathy's dataset_coco.json, dataset_flickr8k.json or dataset_flickr30k.json.

    Raises:
        InputError: If the file has no images or no sentences, does not have the split, or has several splits of which
            the user chose none.
    """
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
            yield place, raw, [caption_text(item) for item in sentences]

    first = next(iter(records), {})
    found = Findings(id="cocoid" if "cocoid" in first else "filename", captions="sentences")
    found.remarks.append(f"split {'+'.join(sorted(wanted))}")
    return ParsedFile(rows(), "image", aliases, findings=found, columns=("sentences",))


def _refuse_columns(options: Options, source: str, what: str) -> None:
    """Refuse options that name a column if the file has no columns."""
    for name in ("id_column", "caption_column", "image_column", "split"):
        row = name == "id_column" and options.id_column == ROW and "list" in what
        if getattr(options, name) not in (None, ()) and not row:
            flag = "--split" if name == "split" else options.flag(name.replace("_", "-"))
            raise InputError(f"{source} is read as {what}; leave {flag} out")


def _wanted_splits(present: list[str], split: str | None, source: str) -> set[str]:
    names = list(dict.fromkeys(present))
    there = ", ".join(f"{name} ({present.count(name):,} images)" for name in names)
    if split is None:
        if len(names) > 1:
            raise InputError(f"{source} has several splits: {there}; choose with --split, for example --split test")
        return set(names)
    wanted = split_rows(split)
    absent = sorted(wanted - set(names))
    if absent:
        raise InputError(f"{source} has no split {' or '.join(absent)}; it has {there}; join several with +")
    return wanted


def read_dict(content: Content, options: Options) -> ParsedFile:
    """Read ``{id: caption}``, ``{id: [captions]}``, or CLIPScore's judgements ``{id: {"human_judgement": ...}}``."""
    value = content.json()
    if not isinstance(value, dict):
        raise InputError(f"{content.source} is {describe(value)}; this format is a JSON object of ids and captions")
    first = next(iter(value.values()), None)
    if isinstance(first, dict) and "human_judgement" in first:
        return _read_judgements(value, options, content.source)

    if isinstance(first, dict):
        return parse_table(KeyedTable(value, content.source), options)
    _refuse_columns(options, content.source, "dict, whose entries are captions and no records")
    _refuse_other_objects(value, content.source)
    found = Findings(id="the keys", captions="the values")
    rows = ((n, key, _parse_spelt_list(item, found, content.source)) for n, (key, item) in enumerate(value.items(), 1))
    return ParsedFile(rows, "entry", findings=found)


def _parse_spelt_list(item: object, findings: Findings, source: str) -> object:
    """Return the list that a text spells; any other item is returned as it is."""
    if not isinstance(item, str) or not item.lstrip().startswith("["):
        return item
    try:
        found, remark = parse_cell(item, source)
    except InputError:
        return item
    if remark and remark not in findings.remarks:
        findings.remarks.append(remark)
    return found


def _refuse_other_objects(value: dict[str, object], source: str) -> None:
    """Refuse objects whose keys are splits or categories, or whose values are all numbers."""
    items = list(value.values())
    if all(isinstance(item, (int, float)) for item in items):
        raise InputError(f"{source} holds numbers ({column_names_text(list(value))}), no captions; leave it out")
    if set(value) <= SPLITS:
        raise InputError(
            f"{source} holds the splits {column_names_text(list(value))}, no ids; give the captions of one split alone"
        )
    key, item = next(iter(value.items()))
    records = [record for record in item if isinstance(record, dict)] if isinstance(item, list) else []
    named = next((name for record in records[:1] for name in record if role_of(name) in ID_ROLES), None)
    if named is not None and {str(record.get(named)) for record in records} != {key}:
        raise InputError(
            f'{source}: the records under "{key}" have ids of their own ("{named}"), so the keys are no ids; '
            "give one list of all records"
        )


def _read_judgements(value: dict[str, object], options: Options, source: str) -> ParsedFile:
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
    name = "ground_truth" if options.references else "human_judgement"
    found = Findings(id="the keys", captions=name)
    rows, unit = (references(), "entry") if options.references else (judgements(), "judgement")
    return ParsedFile(rows, unit, aliases, findings=found, columns=(name,))
