"""The reader of WebDataset shards: tar files whose members ``<key>.txt`` or ``<key>.json`` hold the captions."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from capreward.data.columns import caption_columns
from capreward.data.file_content import Content, decode, error_line, readable
from capreward.data.file_report import Findings
from capreward.data.json_text import JsonParser
from capreward.data.roles import CAPTION_ROLES, role_of
from capreward.data.rows import NOTHING, Options, ParsedFile
from capreward.errors import InputError, shorten


def read_tar(content: Content, options: Options) -> ParsedFile:
    """Read the captions of one or several shards; other members (pictures) are passed over without being read.

    If a sample's ``.json`` holds captions, its ``.txt`` is not used. The key is the member's name up to the first dot.
    A sample without a caption (null, an empty list, or other facts only) is left out and named in the report, as
    training leaves it out.
    """
    found = Findings(id="the members' names", captions="the .json and .txt members")

    def rows() -> Iterator[tuple[int, object, object]]:
        place = 0
        mute: list[str] = []
        seen: dict[str, str] = {}
        for path in content.paths:
            for key, value in _shard_samples(path, options):
                place += 1
                if key in seen:
                    raise InputError(
                        f"{path}: the sample {key} is also in {seen[key]}; keys must differ across shards and folders"
                    )
                seen[key] = str(path)
                if _has_no_caption(value):
                    mute.append(key)
                yield place, key, NOTHING if _has_no_caption(value) else value
        if mute and len(mute) == place:
            raise InputError(f"{content.source} has no sample with a caption")
        if mute:
            samples = "1 sample" if len(mute) == 1 else f"{len(mute):,} samples"
            found.rows_dropped.append(f"{samples} dropped: no caption ({shorten(mute)})")

    return ParsedFile(rows(), "sample", uniform=False, findings=found)


def _has_no_caption(value: object) -> bool:
    """Return whether a sample has no caption: null, an empty list, or a list with null in it."""
    return value is None or (isinstance(value, list) and (not value or None in value))


def _shard_samples(path: Path, options: Options) -> Iterator[tuple[str, object]]:
    samples: dict[str, dict[str, bytes]] = {}
    others: dict[str, None] = {}
    with readable(str(path)):
        try:
            with tarfile.open(path, encoding="utf-8") as archive:
                for member in archive:
                    name = PurePosixPath(member.name)
                    base, _, kind = name.name.partition(".")
                    stream = (
                        archive.extractfile(member) if kind in ("txt", "json") and base and member.isfile() else None
                    )
                    if stream is None:
                        others[f".{kind}"] = None
                        continue
                    found = samples.setdefault(str(name.with_name(base)), {})
                    if kind in found:
                        raise InputError(f"{path}: the member {member.name} is there twice; keys must differ")
                    found[kind] = stream.read()
        except (tarfile.TarError, zlib.error, EOFError) as error:
            raise InputError(f"{path} is a damaged tar file ({error_line(error)}); write or copy it again") from error
    if not samples:
        kinds = f" (it holds {shorten(list(others))} files)" if others else ""
        raise InputError(f"{path} has no .txt or .json members with captions{kinds}")
    for sample, parts in samples.items():
        yield PurePosixPath(sample).name, caption_value(parts, f"{path}, member {sample}", options)


def caption_value(parts: dict[str, bytes], where: str, options: Options) -> object:
    """Return the caption, or list of captions, of a sample, before it is checked.

    Args:
        parts: The bytes of the sample's members, by their endings ``json`` and ``txt``.
        where: The place of the sample, for messages.
        options: The user's own names of the keys of captions.

    Raises:
        InputError: If a member is no text or no JSON, or if the JSON holds no captions and there is no ``txt``.
    """
    if "json" in parts:
        value = JsonParser(f"{where}.json").parse(decode(parts["json"], f"{where}.json"))
        if not isinstance(value, dict):
            return value
        named = [name for name in options.caption_columns if name in value]
        if named or any(role_of(name) in CAPTION_ROLES for name in value) or "txt" not in parts:
            # img2dataset writes a .json of metadata alone beside the .txt; only then does the .txt hold the caption.
            columns, _ = caption_columns(
                list(value), options, f"{where}.json", lambda names: [[value[n] for n in names]]
            )
            return value[columns[0]] if len(columns) == 1 else [value[name] for name in columns]
    return decode(parts["txt"], f"{where}.txt").strip("\r\n")
