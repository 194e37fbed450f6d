"""The writer of per-caption values as JSONL, CSV or Parquet files, and the check of output paths."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from capreward.atomic_files import write_beside
from capreward.errors import InputError
from capreward.reports.results import Results

SUFFIXES = (".jsonl", ".csv", ".parquet")


def check_per_caption_path(path: str | Path) -> None:
    """Refuse a path that ``write_per_caption`` cannot use; see ``check_output_path``."""
    check_output_path(path, "--per-caption", SUFFIXES)


def check_output_path(path: str | Path, option: str, suffixes: tuple[str, ...]) -> None:
    """Refuse a path that cannot be written before any work is done.

    Raises:
        InputError: The suffix is unknown or the folder does not exist.
    """
    path = Path(path)
    if path.suffix not in suffixes:
        named = " or ".join([", ".join(suffixes[:-1]), suffixes[-1]] if len(suffixes) > 1 else suffixes)
        raise InputError(f"{option} {path}: the name must end in {named}")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder; name a file in it")


def write_per_caption(results: Results, path: str | Path) -> int:
    """Write one row per caption and system; the file is written beside its place and then renamed.

    Args:
        results: The results to write.
        path: A path that ends in ``.jsonl``, ``.csv`` or ``.parquet``.

    Returns:
        The number of rows.

    Raises:
        InputError: The file cannot be written.
    """
    check_per_caption_path(path)
    path = Path(path)
    rows = [{"system": s.name, **row} for s in results.systems for row in s.scores.per_caption()]
    writer = {".jsonl": _jsonl, ".csv": _csv, ".parquet": _parquet}[path.suffix]
    write_beside(path, lambda beside: writer(rows, beside))
    return len(rows)


def _jsonl(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _csv(rows: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else ["system", "image_id", "caption"])
        writer.writeheader()
        writer.writerows(rows)


def _parquet(rows: list[dict[str, Any]], path: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise InputError("writing Parquet needs pyarrow; type pip install 'capreward[parquet]'") from error
    pq.write_table(pa.Table.from_pylist(rows), path)
