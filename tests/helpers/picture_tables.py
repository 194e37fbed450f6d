"""Tables with pictures in a column, written for tests."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
from click.testing import CliRunner
from image_files import encoded
from PIL import Image

from capreward.commands import main

KINDS = ["parquet", "arrow", "stream", "csv", "tsv", "jsonl", "json", "csv.gz", "uri.tsv"]


def png(number):
    """A picture whose one colour says its number."""
    return encoded(Image.new("RGB", (4, 3), (number, 7, 9)))


def number_of(picture):
    return picture.open().getpixel((0, 0))[0]


def text64(data):
    return base64.b64encode(data).decode()


def table_of(path, kind, rows):
    """Write rows, whose pictures are bytes, as a table of a kind."""
    if kind in ("parquet", "arrow", "stream"):
        table = pa.Table.from_pylist(rows)
        if kind == "parquet":
            pq.write_table(table, path, row_group_size=2)
        else:
            make = pa.ipc.new_file if kind == "arrow" else pa.ipc.new_stream
            with make(str(path), table.schema) as writer:
                writer.write_table(table, max_chunksize=2)
        return path
    start = "data:image/png;base64," if kind.startswith("uri") else ""
    written = [{k: start + text64(v) if isinstance(v, bytes) else v for k, v in row.items()} for row in rows]
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in written))
    elif kind == "json":
        path.write_text(json.dumps(written))
    else:
        stream = io.StringIO()
        writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if "tsv" in kind else ",")
        writer.writeheader()
        writer.writerows(written)
        data = stream.getvalue().encode()
        path.write_bytes(gzip.compress(data) if kind.endswith("gz") else data)
    return path


ROWS = [{"image_id": 10 + n, "file_name": f"COCO_val2014_{100 + n:012d}.jpg", "image": png(n)} for n in range(5)]


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def scenes_of(tmp_path, count=6):
    assert run("scenes", tmp_path / "s", "--split", "test", "--count", count).exit_code == 0
    said = json.loads((tmp_path / "s" / "captions.json").read_text())
    return {key: (said[key][0], (tmp_path / "s" / f"{key}.png").read_bytes()) for key in said}


CLIPS = "clips(checkpoint=scenes-clip)"


def value(done):
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)["systems"][0]["scores"]["clips"]["value"]
