"""The opening of caption files: existence, compression, byte order marks, UTF-8, and the kind by the first bytes."""

from __future__ import annotations

import difflib
import gzip
import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from capreward.data.json_text import JsonParser
from capreward.data.shards import expand_braces
from capreward.errors import InputError, shorten

T = TypeVar("T")

# Files that users give by mistake, recognised by their first bytes.
BINARY_KINDS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"GIF89a", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a zip archive and no Excel workbook (unpack it first)"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive (unpack it first)"),
    (b"\xfd7zXZ", "an xz archive (unpack it first)"),
    (b"BZh91AY", "a bzip2 archive (unpack it first)"),
    (b"7z\xbc\xaf", "a 7z archive (unpack it first)"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"SQLite format 3", "a SQLite database"),
    (b"\x80\x02", "a pickle"),
    (b"\x80\x03", "a pickle"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
)
ARROW_STARTS = (b"ARROW1", b"\xff\xff\xff\xff")  # the first bytes of an Arrow file and of an Arrow stream
UTF_16_32_MARKS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


@dataclass
class Content:
    """The content of a caption file, whose kind is known by its first bytes.

    Attributes:
        source: The path as the user gave it; messages name the file so.
        paths: The file, or every shard of a brace pattern.
        kind: The kind of file: ``"text"``, ``"tar"``, ``"parquet"``, ``"arrow"`` or ``"excel"``.
        text: The decoded text; empty for the other kinds.
        data: The bytes of an Excel file, or of a Parquet or Arrow file that is compressed and so cannot be mapped;
            empty for all others.
        bare: True if a table has no header row, so that its first row is an id and a caption.
    """

    source: str
    paths: list[Path]
    kind: str
    text: str = ""
    data: bytes = field(default=b"", repr=False)
    bare: bool = False
    _made: dict[str, Any] = field(default_factory=dict, repr=False)

    def json(self) -> object:
        """Parse the text as one JSON value, once."""
        return self.once("json", lambda: JsonParser(self.source).parse(self.text))

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return what ``make`` makes of the content, and make it only once.

        A file that holds captions and references is read twice.

        Args:
            name: The name under which the result is kept.
            make: The function that makes the result.
        """
        if name not in self._made:
            self._made[name] = make()
        made: T = self._made[name]
        return made


def error_line(error: Exception) -> str:
    """Return the first line of a library's error message, which may have many lines."""
    return str(error).partition("\n")[0].rstrip(": ")


@contextmanager
def readable(source: str) -> Iterator[None]:
    """Turn errors of the operating system or a decompressor about ``source`` into an InputError."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{source} is a damaged gzip file ({error_line(error)}); copy or download it again") from error
    except OSError as error:
        raise InputError(f"{source} cannot be read: {error.strerror or error}") from error


def same_file(one: str | Path, other: str | Path) -> bool:
    """Return whether two names mean one file, also through links."""
    if str(one) == str(other):
        return True
    try:
        return any(os.path.samefile(a, b) for a in expand_braces(str(one)) for b in expand_braces(str(other)))
    except (OSError, ValueError):
        return False


def load_content(path: str | Path) -> Content:
    """Read a caption file, or the names of the shards of a brace pattern such as ``test-{000..003}.tar``.

    Args:
        path: A file, possibly gzipped, or a brace pattern of tar shards.

    Returns:
        The content; tar shards are named but not read.

    Raises:
        InputError: If a file is missing, is a folder, is unreadable, empty, damaged or binary, or is not UTF-8.
    """
    source = str(path)
    with readable(source):
        paths = expand_braces(source)
    contents = [_load_one(item, str(item) if len(paths) > 1 else source) for item in paths]
    if len(contents) == 1:
        return contents[0]
    for content in contents:
        if content.kind != "tar":
            raise InputError(
                f"{content.source} is not a tar file; a brace pattern such as {source} names tar shards only"
            )
    return Content(source, paths, "tar")


def _load_one(path: Path, source: str) -> Content:
    with readable(source):
        if path.is_dir():
            raise InputError(f"{source} is a folder; give a caption file{_example_files(path)}")
        if not path.exists():
            raise InputError(_missing_file_text(path, source))
        with path.open("rb") as raw:
            zipped = raw.peek(2)[:2] == b"\x1f\x8b"
            stream = gzip.GzipFile(fileobj=raw) if zipped else raw
            head = stream.read(1024)
            if head[257:262] == b"ustar":
                return Content(source, [path], "tar")
            kind = "parquet" if head.startswith(b"PAR1") else "arrow" if head.startswith(ARROW_STARTS) else None
            if kind is not None:
                # Such a file may hold thousands of pictures; one that lies on the disk as it is can be mapped.
                mapped = not zipped and path.is_file()
                return Content(source, [path], kind, data=b"" if mapped else head + stream.read())
            data = head + stream.read()
    if head.startswith(b"PK\x03\x04") and b"xl/workbook.xml" in data:
        return Content(source, [path], "excel", data=data)
    text = decode(data, source)
    if not text.strip():
        raise InputError(f"{source} is empty; it should hold captions")
    return Content(source, [path], "text", text=text)


def decode(data: bytes, source: str) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Raises:
        InputError: If the bytes are in another encoding or are no text at all; the message gives the offset and the
            line of the first bad byte.
    """
    for mark, name in UTF_16_32_MARKS:
        if data.startswith(mark):
            raise InputError(f"{source} is {name} text; save it as UTF-8, for example: iconv -f {name} -t UTF-8")
    for magic, name in BINARY_KINDS:
        if data.startswith(magic):
            raise InputError(f"{source} is {name}, not a caption file")
    skipped = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    try:
        text = data[skipped:].decode("utf-8") if skipped else data.decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start + skipped
        line = data.count(b"\n", 0, offset) + 1
        raise InputError(
            f"{source} is not UTF-8: byte 0x{data[offset]:02x} at offset {offset} (line {line}); "
            f"save it as UTF-8, for example: iconv -f {_likely_encodings(data)} -t UTF-8"
        ) from None
    nul = text.find("\x00")
    if nul >= 0:
        line = text.count("\n", 0, nul) + 1
        raise InputError(f"{source} holds a NUL character (line {line}): it is a binary file or UTF-16, not UTF-8 text")
    return text


def _likely_encodings(data: bytes) -> str:
    """Return the encodings that the bytes could be in, joined by "or".

    East Asian encodings write a character as a pair of bytes, which texts in other encodings seldom hold.
    """
    sample = data[:1_000_000]
    pairs = [name for name in ("cp949", "gb18030", "shift_jis", "big5") if _decodes(sample, name)]
    high = sum(byte >= 0x80 for byte in sample)
    # In one-byte encodings accents stand alone between letters; in the others nearly all of them come in runs.
    alone = len(re.findall(rb"(?<![\x80-\xff])[\x80-\xff](?![\x80-\xff])", sample))
    if pairs and alone < 0.2 * high:
        return " or ".join(pairs)
    return "latin1" if not pairs or alone > 0.8 * high else f"latin1 or {' or '.join(pairs)}"


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _missing_file_text(path: Path, source: str) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"{source} does not exist (there is no folder {folder})"
    near = difflib.get_close_matches(path.name, [item.name for item in folder.iterdir()], n=3)
    return f"{source} does not exist" + (
        f"; did you mean {' or '.join(str(folder / name) for name in near)}?" if near else ""
    )


def _example_files(folder: Path) -> str:
    endings = {".json", ".jsonl", ".csv", ".tsv", ".txt", ".parquet", ".tar", ".gz"}
    names = sorted(item.name for item in folder.iterdir() if item.suffix.lower() in endings)
    return f" such as {shorten([str(folder / name) for name in names])}" if names else ""
