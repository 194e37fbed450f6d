"""The table of caption file formats, and the recognition of a file's format by its content."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType

from capreward.data.file_content import Content
from capreward.data.rows import Options, ParsedFile
from capreward.errors import InputError


@dataclass(frozen=True)
class Format:
    """One caption file format.

    Attributes:
        kind: The kind of content that it needs: ``"text"``, ``"tar"``, ``"parquet"``, ``"arrow"`` or ``"excel"``.
        summary: The look of such a file, in a few words.
        reader: The place of the reader, ``"module:function"``; it is imported when a file of the format is read.
        options: The options that the reader uses, of ``split``, ``id_column``, ``caption_column`` and
            ``image_column``.
    """

    kind: str
    summary: str
    reader: str
    options: frozenset[str] = frozenset()

    def read(self, content: Content, options: Options) -> ParsedFile:
        """Read a file of this format."""
        module, _, name = self.reader.partition(":")
        read: Callable[[Content, Options], ParsedFile] = getattr(import_module(module), name)
        return read(content, options)

    def check_options(self, name: str, options: Options, source: str) -> None:
        """Refuse an option that this format would silently ignore.

        Raises:
            InputError: If such an option is given.
        """
        for option in ("split", "id_column", "caption_column", "image_column"):
            if getattr(options, option) not in (None, ()) and option not in self.options:
                spelt = option.replace("_", "-")
                flag = f"--{spelt}" if option == "split" else options.flag(spelt)
                raise InputError(
                    f"{source} is read as {name}, which knows no {spelt.replace('-', ' ')}; leave {flag} out"
                )


_JSON = "capreward.data.formats.json_files"
_TABLES = "capreward.data.formats.delimited"
NAMED = frozenset({"id_column", "caption_column", "image_column"})
TABLE = NAMED | {"split"}

FORMATS: MappingProxyType[str, Format] = MappingProxyType(
    {
        "coco-results": Format("text", 'JSON list of {"image_id", "caption"}', f"{_JSON}:read_list", TABLE),
        "coco": Format(
            "text",
            'COCO annotations: {"images", "annotations": [{"image_id", "caption"}]}',
            f"{_JSON}:read_coco",
            TABLE,
        ),
        "karpathy": Format(
            "text",
            'dataset_coco.json: {"images": [{"split", "sentences"}]}, one --split',
            f"{_JSON}:read_karpathy",
            frozenset({"split"}),
        ),
        "msrvtt": Format(
            "text", 'MSR-VTT: {"videos", "sentences": [{"video_id", "caption"}]}', f"{_JSON}:read_msrvtt", TABLE
        ),
        "dict": Format(
            "text", "JSON object {id: caption}, {id: [captions]} or {id: record}", f"{_JSON}:read_dict", TABLE
        ),
        "list": Format(
            "text", "JSON list of records with named columns, or of bare captions", f"{_JSON}:read_list", TABLE
        ),
        "wrapped": Format(
            "text", 'JSON object with one list of records: {"data": [...]}', f"{_JSON}:read_wrapped", TABLE
        ),
        "columns": Format(
            "text", 'JSON object of columns: {"image_id": [...], "caption": [...]}', f"{_JSON}:read_columns", TABLE
        ),
        "img-to-eval": Format(
            "text", 'ImageCaptioning.pytorch: {"overall", "imgToEval"}', f"{_JSON}:read_img_to_eval", TABLE
        ),
        "jsonl": Format("text", "one JSON record per line", f"{_JSON}:read_json_lines", TABLE),
        "csv": Format("text", "comma-separated table with a header row", f"{_TABLES}:read_csv", TABLE),
        "tsv": Format("text", "tab-separated table with a header row", f"{_TABLES}:read_tsv", TABLE),
        "psv": Format("text", 'table with a header row, separated by "|"', f"{_TABLES}:read_psv", TABLE),
        "ssv": Format("text", "table with a header row, separated by semicolons", f"{_TABLES}:read_ssv", TABLE),
        "parquet": Format("parquet", "Parquet table with named columns", f"{_TABLES}:read_arrow", TABLE),
        "arrow": Format(
            "arrow", "Arrow file or stream with named columns (Hugging Face's cache)", f"{_TABLES}:read_arrow", TABLE
        ),
        "excel": Format(
            "excel", "Excel workbook (.xlsx), its first sheet with a header row", f"{_TABLES}:read_excel", TABLE
        ),
        "flickr-token": Format(
            "text", "image.jpg#0, a tab, a caption", "capreward.data.formats.text:read_flickr_token"
        ),
        "id-text": Format("text", "an id, a blank or a colon, a caption", f"{_TABLES}:read_id_text"),
        "finecapeval": Format(
            "text",
            "FineCapEval.csv: image, caption, background, object, relation",
            "capreward.data.finecapeval:read_finecapeval",
        ),
        "text": Format(
            "text", "one caption per line; the line number is the id", "capreward.data.formats.text:read_text"
        ),
        "webdataset": Format(
            "tar",
            "tar shards with .txt or .json members",
            "capreward.data.formats.tar_files:read_tar",
            frozenset({"caption_column"}),
        ),
    }
)


def format_names() -> list[str]:
    """Return the names of all formats."""
    return list(FORMATS)


def format_summaries() -> dict[str, str]:
    """Return the summary of each format, by its name."""
    return {name: entry.summary for name, entry in FORMATS.items()}


def find_format(name: str) -> Format:
    """Return the format of a name.

    Raises:
        InputError: If there is no format of that name; the message gives the nearest name and all names.
    """
    if name in FORMATS:
        return FORMATS[name]
    near = difflib.get_close_matches(name, FORMATS, n=1)
    meant = f" (did you mean {near[0]}?)" if near else ""
    raise InputError(f'there is no caption format "{name}"{meant}; the formats are {", ".join(FORMATS)}')


def recognise(content: Content, options: Options) -> str:
    """Name the format of a file by its content.

    Raises:
        InputError: If the content looks like nothing that holds captions; the message says what it looks like.
    """
    if content.kind != "text":
        return "webdataset" if content.kind == "tar" else content.kind
    text = content.text.lstrip()
    for start, what in (
        ("<!doctype", "a web page"),
        ("<html", "a web page"),
        ("<?xml", "XML"),
        ("version https://git-lfs", "a Git LFS pointer"),
    ):
        if text[: len(start)].lower() == start:
            raise InputError(f"{content.source} is {what}, not a caption file; the formats are {', '.join(FORMATS)}")
    if text[0] in "{[":
        from capreward.data.formats.json_layouts import json_layout

        return "jsonl" if _is_json_lines(text) else json_layout(content.json(), content.source)
    from capreward.data.formats.recognition import recognise_text

    name = recognise_text(content, options)
    return "finecapeval" if name == "csv" and _is_finecapeval(text.partition("\n")[0], options) else name


def _is_json_lines(text: str) -> bool:
    end = text.find("\n")
    if end < 0 or text[0] != "{":
        return False
    second = re.compile(r"\s*(\S?)").match(text, end)
    # Within a single JSON value, a line that starts with { follows a line that ends with one of these characters.
    return second is not None and second[1] == "{" and text[:end].rstrip()[-1] not in "[:,{"


def _is_finecapeval(header: str, options: Options) -> bool:
    """Return whether a table is FineCapEval's and the user named no columns."""
    from capreward.data.finecapeval import is_finecapeval_header
    from capreward.data.formats.recognition import cells_of

    named = (options.id_column, options.caption_column, options.image_column, options.split)
    return not any(named) and is_finecapeval_header(cells_of(header, ","))
