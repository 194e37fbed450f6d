"""Every caption file format: what is read, how it is recognised, and that all formats agree."""

import csv
import gzip
import io
import json
import subprocess
import sys
import tarfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capreward.data.caption_cells import MISSING_CELLS
from capreward.data.caption_files import format_names, read_captions, read_captions_with_references, read_references

CAPTIONS = {"42": "a dog, running", "000000000007.jpg": 'he said "hi"', "x y": "Müller’s 犬 🐕"}
REFERENCES = {"42": ["a dog", "the dog runs"], "7": ["a man"], "x": ["one", "two", "three"]}


def write(folder, name, content):
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8", newline="")
    return path


def table_text(rows, header, separator=","):
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=separator)
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()


def tar_bytes(members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def parquet_bytes(columns):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def in_every_format(pairs):
    """Spell one table of (id, caption) pairs in every format that has ids and one caption per row."""
    rows = [{"image_id": key, "caption": caption} for key, caption in pairs]
    return {
        "coco-results": json.dumps(rows).encode(),
        "coco": json.dumps({"images": [], "annotations": rows}).encode(),
        "dict": json.dumps(dict(pairs)).encode(),
        "list": json.dumps([{"file": key, "candidates": [caption]} for key, caption in pairs]).encode(),
        "karpathy": json.dumps(
            {"images": [{"split": "test", "filename": key, "sentences": [{"raw": caption}]} for key, caption in pairs]}
        ).encode(),
        "jsonl": "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode(),
        "csv": table_text(pairs, ["image", "caption"]).encode(),
        "tsv": table_text(pairs, ["image", "caption"], "\t").encode(),
        "parquet": parquet_bytes({"image_id": [key for key, _ in pairs], "caption": [text for _, text in pairs]}),
    }


def test_every_format_name_is_listed():
    assert format_names() == [
        "coco-results", "coco", "karpathy", "msrvtt", "dict", "list", "wrapped", "columns", "img-to-eval", "jsonl", "csv",
        "tsv", "psv", "ssv", "parquet", "arrow", "excel", "flickr-token", "id-text", "finecapeval", "text", "webdataset",
    ]  # fmt: skip


@pytest.mark.parametrize("name", list(in_every_format([("1", "a")])))
@pytest.mark.parametrize("zipped", [False, True])
def test_one_table_in_every_format(tmp_path, name, zipped):
    data = in_every_format(list(CAPTIONS.items()))[name]
    path = write(tmp_path, "whatever.bin", gzip.compress(data) if zipped else data)
    for table in (read_captions(path), read_captions(path, format=name)):
        assert (table.format, table.source) == (name, str(path))
        assert dict(zip(table.keys, table.captions, strict=True)) == CAPTIONS
        assert table.keys == list(CAPTIONS)
        assert not table.aligned


def test_a_single_json_line_is_recognised_and_a_pretty_object_is_not_lines(tmp_path):
    line = write(tmp_path, "a", '{"image_id": "k", "caption": "a dog"}\n')
    assert read_captions(line).format == "jsonl"
    pretty = write(tmp_path, "b", json.dumps({"annotations": [{"image_id": 1, "caption": "a"}] * 2}, indent=0))
    assert read_captions(pretty).format == "coco"


ids = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8).filter(
    lambda text: text.strip() == text != "" and text not in MISSING_CELLS
)
captions = st.text(st.characters(codec="utf-8", exclude_characters="\x00\t"), min_size=1, max_size=30).filter(
    lambda text: text not in MISSING_CELLS
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(ids.filter(lambda text: "\t" not in text), captions, min_size=1, max_size=6))
def test_round_trip_in_every_format(tmp_path, table):
    pairs = list(table.items())
    for name, data in in_every_format(pairs).items():
        read = read_captions(write(tmp_path, "file", data), format=name)
        assert list(zip(read.keys, read.captions, strict=True)) == pairs, name


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r\n")), min_size=1))
def test_round_trip_of_text(tmp_path, lines):
    if not "".join(lines).strip():
        lines = [*lines, "a dog"]
    read = read_captions(write(tmp_path, "file", "".join(line + "\n" for line in lines).encode()), format="text")
    # A first character U+FEFF is a byte order mark, which is no part of the text.
    assert read.captions == [lines[0].removeprefix("\ufeff"), *lines[1:]]
    assert read.keys == [str(number) for number in range(1, len(lines) + 1)]


def test_integer_ids_become_text_and_pandas_floats_integers(tmp_path):
    path = write(tmp_path, "c.json", [{"image_id": 42, "caption": "a"}, {"image_id": 43.0, "caption": ""}])
    table = read_captions(path)
    assert (table.keys, table.captions, list(table.positions), table.unit) == (["42", "43"], ["a", ""], [1, 2], "row")


def test_coco_annotations_with_file_names(tmp_path):
    rows = [{"image_id": 42, "id": 1, "caption": "a"}, {"image_id": 7, "id": 2, "caption": "b"}]
    images = [{"id": 42, "file_name": "COCO_val2014_000000000042.jpg"}, {"id": 7, "file_name": "x.jpg"}]
    path = write(tmp_path, "c.json", {"images": images, "annotations": [*rows, {"image_id": 42, "caption": "c"}]})
    read = read_references([path])
    assert read.references == {"42": ["a", "c"], "7": ["b"]}
    assert read.aliases == {"COCO_val2014_000000000042.jpg": "42", "x.jpg": "7"}
    assert read_captions(path).keys == ["42", "7", "42"]


@pytest.mark.parametrize(
    "value",
    [
        REFERENCES,
        {key: [{"image_id": key, "caption": text} for text in texts] for key, texts in REFERENCES.items()},
        {key: {"caption": "unused", "references": texts} for key, texts in REFERENCES.items()},
        {key: {"human_judgement": [], "ground_truth": texts} for key, texts in REFERENCES.items()},
        [{"_id": key, "split": "test", "candidates": ["c"], "references": texts} for key, texts in REFERENCES.items()],
        [{"image_id": key, "captions": texts} for key, texts in REFERENCES.items()],
        [{"image_id": key, "caption": text} for key, texts in REFERENCES.items() for text in texts],
    ],
)
def test_references_in_json(tmp_path, value):
    read = read_references(write(tmp_path, "r.json", value))
    assert read.references == REFERENCES
    assert list(read.references) == list(REFERENCES)


def test_references_in_tables(tmp_path):
    listed = [(key, json.dumps(texts)) for key, texts in REFERENCES.items()]
    flat = [(key, text) for key, texts in REFERENCES.items() for text in texts]
    for name, text in (
        ("listed.csv", table_text(listed, ["image_id", "references"])),
        ("flat.csv", table_text(flat, ["image_id", "reference"])),
        ("flat.tsv", table_text(flat, ["image_id", "caption"], "\t")),
        ("r.jsonl", "\n".join(json.dumps({"imgid": key, "refs": texts}) for key, texts in REFERENCES.items())),
    ):
        assert read_references(write(tmp_path, name, text)).references == REFERENCES, name
    data = parquet_bytes({"image_id": list(REFERENCES), "references": list(REFERENCES.values())})
    assert read_references(write(tmp_path, "r.parquet", data)).references == REFERENCES


def test_judgements_read_as_candidates(tmp_path):
    judged = [
        {"image_id": "k", "caption": "a", "rating": 1.0},
        {"image_id": "k", "caption": "b", "rating": float("nan")},
    ]
    path = write(tmp_path, "f.json", {"k": {"human_judgement": judged, "image_path": "I/k.jpg", "ground_truth": ["r"]}})
    table = read_captions(path)
    assert (table.keys, table.captions, table.unit, table.aliases) == (
        ["k", "k"],
        ["a", "b"],
        "judgement",
        {"I/k.jpg": "k"},
    )


KARPATHY = {
    "dataset": "coco",
    "images": [
        {"split": split, "cocoid": number, "imgid": 0, "filename": f"COCO_val2014_{number:012}.jpg", "sentences": [
            {"raw": f"raw {number}", "tokens": ["raw", str(number)]}, {"tokens": ["only", "tokens"]}]}
        for number, split in enumerate(["train", "restval", "val", "test", "test"], 1)
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    "split, keys", [("test", ["4", "5"]), ("train", ["1"]), ("train+restval", ["1", "2"]), ("val", ["3"])]
)
def test_karpathy_splits(tmp_path, split, keys):
    read = read_references(write(tmp_path, "d.json", KARPATHY), split=split)
    assert read.references == {key: [f"raw {key}", "only tokens"] for key in keys}
    assert read.aliases == {f"COCO_val2014_{int(key):012}.jpg": key for key in keys}


def test_flickr_token(tmp_path):
    text = "1_a.jpg#0\tA dog .\n1_a.jpg#1\tTabs\tstay\n2_b.jpg.1#0\tTwo # dogs\n"
    table = read_captions(write(tmp_path, "Flickr8k.token.txt", text))
    assert table.format == "flickr-token"
    assert (table.keys, table.captions) == (
        ["1_a.jpg", "1_a.jpg", "2_b.jpg.1"],
        ["A dog .", "Tabs\tstay", "Two # dogs"],
    )


def test_text_keeps_blank_lines_and_odd_line_ends(tmp_path):
    table = read_captions(write(tmp_path, "t.txt", "\ufeffa dog\r\n\r\nx\u2028y\x85z\nlast"))
    assert table.captions == ["a dog", "", "x\u2028y\x85z", "last"]
    assert (table.keys, table.aligned, table.format) == (["1", "2", "3", "4"], True, "text")


def test_several_text_files_are_several_references(tmp_path):
    first = write(tmp_path, "r1.txt", "a\nb\n\n")
    second = write(tmp_path, "r2.txt.gz", gzip.compress(b"A\n\n\n"))
    read = read_references([first, second])
    assert read.references == {"1": ["a", "A"], "2": ["b"], "3": ["", ""]}
    assert read.notes == ("1 blank line in the reference files was taken for a missing reference",)
    assert read_references(first).references == {"1": ["a"], "2": ["b"], "3": [""]}


def test_several_keyed_files_are_joined(tmp_path):
    first = write(tmp_path, "a.json", {"1": ["a"], "2": ["b"]})
    second = write(tmp_path, "b.csv", "image_id,caption\n2,c\n3,d\n")
    read = read_references([first, second])
    assert (read.references, read.format) == ({"1": ["a"], "2": ["b", "c"], "3": ["d"]}, "dict+csv")
    assert read.source == f"{first}, {second}"


def test_bare_json_lists_are_aligned(tmp_path):
    table = read_captions(write(tmp_path, "c.json", ["a", "b"]))
    assert (table.keys, table.captions, table.aligned, table.format) == (["1", "2"], ["a", "b"], True, "list")
    assert read_references(write(tmp_path, "r.json", [["a", "b"], ["c"]])).references == {"1": ["a", "b"], "2": ["c"]}


def test_webdataset_members(tmp_path):
    members = [
        ("a/0001.jpg", b"\xff" * 700), ("a/0001.txt", b"one\n"), ("./0002.json", b'["two", "three"]'),
        ("0003.txt", b"t"),
        ("0003.json", b'{"caption": "json wins"}'), ("0004.json", b'{"url": "u"}'), ("0004.txt", b"metadata only"),
        ("README", b"x"),
    ]  # fmt: skip
    table = read_captions(write(tmp_path, "s.tar", tar_bytes(members)))
    assert table.format == "webdataset"
    assert table.keys == ["0001", "0002", "0002", "0003", "0004"]
    assert table.captions == ["one", "two", "three", "json wins", "metadata only"]


def test_samples_without_a_caption_are_left_out_as_in_training(tmp_path):
    members = [("1.json", b"null"), ("2.txt", b"a dog"), ("3.json", b'["a", null]'), ("4.json", b'{"caption": null}')]
    path = write(tmp_path, "s.tar", tar_bytes([*members, ("5.json", b"[]")]))
    for read in (read_captions, read_references):
        found = read(path)
        assert found.reports[0].captions == 1
        assert found.reports[0].dropped == ("4 samples dropped: no caption (1, 3, 4 and 1 more)",)


def test_webdataset_shards(tmp_path):
    for number in range(3):
        write(tmp_path, f"s-{number:02}.tar", tar_bytes([(f"{number}.txt", f"caption {number}".encode())]))
    assert read_captions(tmp_path / "s-{00..02}.tar").captions == ["caption 0", "caption 1", "caption 2"]
    assert read_captions(str(tmp_path / "s-0{2,0}.tar")).keys == ["2", "0"]
    write(tmp_path, "s-{00..01}.tar", tar_bytes([("9.txt", b"the very file")]))
    assert read_captions(tmp_path / "s-{00..01}.tar").keys == ["9"]
    zipped = write(tmp_path, "z.tar.gz", gzip.compress(tar_bytes([("5.txt", b"zipped")])))
    assert read_references(zipped).references == {"5": ["zipped"]}


def test_named_columns_override(tmp_path):
    path = write(tmp_path, "t.csv", "id,Caption,model out,stem\n1,a,b,k\n")
    assert read_captions(path).captions == ["a"]
    table = read_captions(path, id_column="stem", caption_column="model out")
    assert (table.keys, table.captions) == (["k"], ["b"])


def test_a_missing_cell_of_an_unread_column_is_fine_and_quotes_are_read(tmp_path):
    table = read_captions(write(tmp_path, "t.csv", 'image_id,caption,note\r\n1,"a, ""b""\r\nc",\r\n2,d,x\r\n'))
    assert (table.captions, list(table.positions)) == (['a, "b"\r\nc', "d"], [2, 4])


def test_candidates_and_references_of_one_file(tmp_path):
    rows = [
        {"imgid": "k", "mt": "a", "refs": ["r", "s"], "score": 0.5}, {"imgid": "k", "mt": "b", "refs": ["r", "s"]},
        {"imgid": "m", "mt": "c"},
    ]  # fmt: skip
    table, references = read_captions_with_references(write(tmp_path, "p.json", rows))
    assert (table.keys, table.captions) == (["k", "k", "m"], ["a", "b", "c"])
    assert references.references == {"k": ["r", "s"], "m": []}


def test_file_names_beside_the_ids_are_aliases(tmp_path):
    text = table_text(
        [("7", "x/a.jpg", "a"), ("9", "b.jpg", "b"), ("9", "b.jpg", "c")], ["image_id", "image", "caption"]
    )
    assert read_captions(write(tmp_path, "c.csv", text)).aliases == {"x/a.jpg": "7", "b.jpg": "9"}
    named = [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b.jpg"}, {"id": 4, "file_name": "b.jpg"}]
    rows = [{"image_id": image["id"], "caption": "a"} for image in named]
    # A name that two ids share tells nothing.
    found = read_captions(write(tmp_path, "c.json", {"images": named, "annotations": rows}))
    assert found.aliases == {"a.jpg": "7"}
    data = parquet_bytes({"image_id": [1, 2], "caption": ["a", "b"], "file_name": ["a.jpg", None]})
    assert read_captions(write(tmp_path, "c.parquet", data)).aliases == {"a.jpg": "1"}


def test_blank_lines_between_rows(tmp_path):
    for text in ("1.jpg#0\ta\n\n2.jpg#0\tb\n", "image,caption\n\n1.jpg,a\n\n2.jpg,b\n"):
        assert read_captions(write(tmp_path, "c", text)).keys == ["1.jpg", "2.jpg"]


def test_one_very_long_line_is_text(tmp_path):
    assert read_captions(write(tmp_path, "c", "a dog " * 50_000)).format == "text"


def test_importing_is_light():
    heavy = "('torch', 'pyarrow', 'webdataset', 'numpy')"
    code = f"import sys, capreward.data.reference_match; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
