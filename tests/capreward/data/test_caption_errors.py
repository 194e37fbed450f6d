"""Bad caption files: every message says what was found, where, and what to do, and nothing is a traceback."""

import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_caption_files import in_every_format, parquet_bytes, tar_bytes, write

from capreward.data.caption_files import format_names, read_captions, read_captions_with_references, read_references
from capreward.errors import InputError

GOOD = [{"image_id": 1, "caption": "a"}, {"image_id": 2, "caption": "b"}]
TAR = tar_bytes([("1.txt", b"a" * 2000), ("2.txt", b"b" * 2000)])


def check_refused(path, *parts, read=read_captions, **options):
    """Read a file that must be refused, in one line that holds all the parts."""
    with pytest.raises(InputError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert [part for part in parts if part not in message] == [], message
    assert "\n" not in message


BAD_JSON = {
    "null caption": ([*GOOD, {"image_id": 7, "caption": None}], ["row 3 (id 7)", "the caption is null, not text"]),
    "number": ([{"image_id": 7, "caption": 3}], ["row 1 (id 7)", "the number 3"]),
    "nested": ([{"image_id": 7, "caption": {"text": "a"}}], ["row 1 (id 7)", "an object"]),
    "nested list": ([{"image_id": 7, "caption": [["a"]]}], ["row 1 (id 7)", "a list"]),
    "NaN caption": ([*GOOD, {"image_id": 7, "caption": float("nan")}], ["row 3 (id 7)", "NaN (a missing value)"]),
    "NaN id": ([*GOOD, {"image_id": float("nan"), "caption": "a"}], ["row 3: the id is NaN"]),
    "fraction id": ([{"image_id": 1.5, "caption": "a"}], ["row 1: the id is the number 1.5"]),
    "true id": ([{"image_id": True, "caption": "a"}], ["row 1: the id is true"]),
    "empty id": ([{"image_id": " ", "caption": "a"}], ["row 1: the id is empty"]),
    "no caption": ([*GOOD, {"image_id": 3}], ['row 3 has no "caption"', "'image_id'"]),
    "row not an object": ([*GOOD, "a dog"], ["row 3: this is text", "every row must be an object"]),
    "mixed list": (["a", ["b"]], ["row 2 (id 2)", "the caption is a list while the first is text"]),
    "mixed dict": ({"a": "x", "b": ["y"]}, ["entry 2 (id b)", "the caption is a list while the first is text"]),
    "empty candidates": ({"a": ["x"], "b": []}, ["entry 2 (id b)", "the list of captions is empty"]),
    "number in dict": ({"Bleu_1": 0.5}, ["holds numbers ('Bleu_1'), no captions", "leave it out"]),
    "no ids": ([{"caption": "a", "score": 1}], ["no column for ids", "'caption', 'score'", "--id-column"]),
    "no captions": ([{"image_id": 1, "score": 1}], ["no column for captions", "'image_id', 'score'", "-column"]),
    "detections": ({"annotations": [{"image_id": 1, "bbox": []}]}, ['no "caption" but', "'bbox'", "captions_*.json"]),
    "images only": ({"images": [{"id": 1, "file_name": "a.jpg"}]}, ['no "annotations" list']),
    "empty list": ([], ["empty list"]),
    "empty object": ({}, ["empty object"]),
    "half a character": ([{"image_id": 1, "caption": "a \ud83d"}], ["row 1 (id 1)", "half a character"]),
    "half a character in an id": ({"\ud83d": "a"}, ["entry 1: the id holds half a character"]),
    "judgement": ({"k": {"human_judgement": [{"caption": None}]}}, ["judgement 1 (id k)", "null"]),
    "no judgement list": ({"k": {"human_judgement": 3}}, ["entry 1 (id k)", '"human_judgement" list']),
    "no sentences": ({"images": [{"filename": "a", "sentences": 1}]}, ["image 1 (a)", '"sentences" list']),
    "several splits": (
        {"images": [{"split": "test", "sentences": []}, {"split": "val", "sentences": []}]},
        ["test (1 images), val (1 images)", "--split test"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BAD_JSON))
def test_bad_json_values(tmp_path, name):
    value, parts = BAD_JSON[name]
    path = write(tmp_path, "c.json", json.dumps(value))
    check_refused(path, str(path), *parts)


BAD_FILES = {
    "empty": (b"", ["is empty"]),
    "blank": (b" \n\n", ["is empty"]),
    "empty gzip": (gzip.compress(b""), ["is empty"]),
    "bad byte": (b"a dog\nun caf\xe9 noir\n", ["not UTF-8", "0xe9 at offset 12 (line 2)", "iconv"]),
    "bad byte after mark": (b"\xef\xbb\xbfa\n\xe9!", ["0xe9 at offset 5 (line 2)"]),
    "UTF-16": ("a dog".encode("utf-16"), ["is UTF-16 text", "save it as UTF-8"]),
    "UTF-16 without mark": ("a\nd".encode("utf-16-le"), ["NUL character (line 1)"]),
    "UTF-32": ("a dog".encode("utf-32"), ["is UTF-32 text"]),
    "picture": (b"\xff\xd8\xff\xe0 more", ["is a JPEG picture, not a caption file"]),
    "pickle": (b"\x80\x04\x95", ["is a pickle"]),
    "web page": (b"<!DOCTYPE html><html>", ["is a web page", "the formats are coco-results, coco"]),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", ["is a Git LFS pointer"]),
    "cut off": (b'[{"image_id": 1,\n "caption": "a do', ["line 2, column 13", "the file seems cut off"]),
    "invalid": (b'{"a": "b" "c": "d"}', ["not valid JSON (line 1, column 11", "--format text"]),
    "two values": (b'{"a": "b"}\n["c"]', ["not valid JSON (line 2, column 1: Extra data)"]),
    "too deep": (b"[" * 100_000, ["not usable JSON"]),
    "Mac line ends": (b"image_id,caption\r1,a\r", ["carriage returns alone"]),
    "huge number": (b'[{"image_id": ' + b"1" * 5000 + b', "caption": "a"}]', ["not usable JSON"]),
    "repeated key": (b'{"a": "x",\n"b": "y",\n"a": "z"}', ['the key "a" more than once (again at line 3)']),
    "repeated inner key": (b'[{"image_id": 1, "caption": "x", "caption": "y"}]', ['"caption" more than once (in one']),
    "line cut off": (b'{"image_id": 1, "caption": "a"}\n{"image_id": 2, "cap', ["line 2, column 17", "cut off"]),
    "line not JSON": (b'{"image_id": 1, "caption": "a"}\n{"image_id": 2 "b"}\n', ["(line 2, column 16: Expecting ','"]),
    "line repeats key": (b'{"id": 1, "caption": "a"}\n{"id": 1, "id": 2}\n', ['the key "id" more than once (line 2)']),
    "line is a list": (b'{"id": 1, "caption": "a"}\n{"id": 1, "caption": "a"}\n[]', ["line 3: this is a list"]),
    "nan cell": (b"image_id,caption\n1,a\n2,nan\n", ["line 3", 'column "caption" is "nan"', "missing value"]),
    "empty id cell": (b"image_id,caption\n,a\n", ["line 2", 'column "image_id" is empty']),
    "ragged": (b"image_id,caption\n1,a\n2,b, c\n", ["line 3: 3 cells where the header has 2 columns"]),
    "short row": (b"image_id,caption\n1\n", ["line 2: 1 cell where the header has 2 columns"]),
    "open quote": (b'image_id,caption\n1,a\n2,"b\n3,c\n', ["from line 3: the quoting is broken"]),
    "open quote in TSV": (b'image_id\tcaption\n1\t"a\n2\tb"\n', ["line 2: a cell that starts with a quote", "runs on"]),
    "no caption column": (b"image_id,words\n1,a\n", ["for captions", "'image_id', 'words'", "--caption-column"]),
    "twice a column": (b"image_id,caption,caption\n1,a,b\n", ['two columns named "caption"']),
    "header alone": (b"image_id,caption\n", ["holds no captions"]),
    "stray carriage return": (b"image_id,caption\n1,a\rb\n", ["from line 2: the quoting is broken"]),
    "no header": (b"x.jpg\t1\ta dog\n", ["without a header row", "3 cells at a tab", "image_id<TAB>caption"]),
    "a row without a tab": (b"x.jpg\ta\n" * 9 + b"y.jpg a cat\n", ['the line "y.jpg a cat" has 1', "--format text"]),
    "ids or captions": (b"vid42 a goat\nvid73 a dog\n", ["--format id-text", "--format text"]),
    "column or caption": (b"caption\na dog\n", ['begins with the line "caption"', "--format csv", "--format text"]),
    "token line": (b"1.jpg#0\ta dog\n1.jpg a cat\n", ["line 2: this is not image.jpg#0"]),
    "cut gzip": (gzip.compress(b"a dog" * 99)[:-12], ["damaged gzip file"]),
    "bad gzip": (b"\x1f\x8b\x00\x00 no gzip", ["damaged gzip file"]),
    "gzip checksum": (gzip.compress(b"a dog")[:-8] + b"12345678", ["damaged gzip file"]),
    "cut tar": (TAR[:1500], ["damaged tar file"]),
    "bad tar": (TAR[:148] + b"00000" + TAR[153:], ["damaged tar file"]),
    "pictures only": (tar_bytes([("1.jpg", b""), ("2.png", b"")]), ["no .txt or .json members", "it holds .jpg, .png"]),
    "member of no captions": (tar_bytes([("1.json", b'{"url": "u"}')]), ["member 1.json", "for captions", "'url'"]),
    "broken member": (tar_bytes([("a/1.json", b'["a"')]), ["member a/1.json", "cut off"]),
    "bad member text": (tar_bytes([("1.txt", b"\xe9")]), ["member 1.txt", "not UTF-8"]),
    "twice a member": (tar_bytes([("1.txt", b"a"), ("1.txt", b"b")]), ["member 1.txt is there twice"]),
    "twice a key": (tar_bytes([("a/1.txt", b"a"), ("b/1.txt", b"b")]), ["the sample 1 is also in", "keys must differ"]),
    "cut parquet": (b"PAR1 and nothing", ["damaged parquet file"]),
}  # fmt: skip


@pytest.mark.parametrize("name", list(BAD_FILES))
def test_bad_files(tmp_path, name):
    data, parts = BAD_FILES[name]
    path = write(tmp_path, "c", data)
    check_refused(path, str(path), *parts)


def test_parquet_with_missing_values(tmp_path):
    data = parquet_bytes({"image_id": [1, 2], "caption": ["a", None]})
    check_refused(write(tmp_path, "c.parquet", data), "row 2 (id 2): the caption is null")
    data = parquet_bytes({"image_id": [1.0, float("nan")], "caption": ["a", "b"]})
    check_refused(write(tmp_path, "c.parquet", data), "row 2: the id is NaN")
    data = parquet_bytes({"image_id": [1], "words": ["a"]})
    check_refused(write(tmp_path, "c.parquet", data), "no column for captions", "'words'")


def test_parquet_damaged_inside(tmp_path):
    data = bytearray(parquet_bytes({"image_id": list(range(99)), "caption": [f"caption {n}" for n in range(99)]}))
    data[4:200] = b"\xff" * 196
    check_refused(write(tmp_path, "c.parquet", bytes(data)), "damaged parquet file")


def test_parquet_that_is_not_utf8(tmp_path):
    pa = pytest.importorskip("pyarrow")
    data = parquet_bytes({"image_id": [1], "caption": pa.array([b"caf\xe9"]).view(pa.string())})
    check_refused(write(tmp_path, "c.parquet", data), "damaged parquet file", "utf-8")


def test_ids_are_shown_on_one_short_line(tmp_path):
    check_refused(write(tmp_path, "c.json", {"a\n\x1b" + "b" * 99: None}), "(id a\\n\\x1bbbb", "bbb...)")


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    path = write(tmp_path, "c.parquet", parquet_bytes({"image_id": [1], "caption": ["a"]}))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    check_refused(path, "pip install 'capreward[parquet]'")


def test_missing_files_and_folders(tmp_path):
    write(tmp_path, "captions.json", "[]")
    check_refused(tmp_path / "caption.json", "does not exist", f"did you mean {tmp_path / 'captions.json'}?")
    check_refused(tmp_path / "zzz", "zzz does not exist")
    check_refused(tmp_path / "no" / "c.json", f"there is no folder {tmp_path / 'no'}")
    check_refused(tmp_path, "is a folder; give a caption file such as", "captions.json")
    check_refused("a\x00b", "does not exist")
    check_refused("x" * 5000, "cannot be read", "name too long")


def test_permission_denied(tmp_path, monkeypatch):
    path = write(tmp_path, "c.json", GOOD)

    def deny(*args, **kwargs):
        raise PermissionError(13, os.strerror(13), str(path))

    monkeypatch.setattr(Path, "open", deny)
    check_refused(path, f"{path} cannot be read: Permission denied")


def test_formats_that_do_not_fit(tmp_path):
    path = write(tmp_path, "c.json", GOOD)
    check_refused(path, 'no caption format "jsonll"', "did you mean jsonl?", ", ".join(format_names()), format="jsonll")
    check_refused(path, "text file", "cannot be read as parquet", format="parquet")
    check_refused(write(tmp_path, "s.tar", TAR), "tar file", "cannot be read as csv", format="csv")
    check_refused(path, "this format is a JSON object", format="dict")
    check_refused(path, 'no "annotations" list', format="coco")
    check_refused(path, 'no "images" list', format="karpathy")
    check_refused(write(tmp_path, "d.json", {"a": "b"}), "this format is a JSON list", format="coco-results")
    check_refused(path, "has no column of splits", "leave --split out", split="test")
    check_refused(write(tmp_path, "l.txt", "a dog\n"), "read as text, which knows no split", "leave --split", split="x")
    check_refused(tmp_path / "d.json", "read as dict", "leave --id-column out", id_column="x")
    check_refused(path, 'no column for "nope"', "'image_id', 'caption'", "--id-column", id_column="nope")
    check_refused(path, 'no column for "nope"', "--caption-column", caption_column="nope")


def test_unknown_split(tmp_path):
    path = write(tmp_path, "d.json", {"images": [{"split": "test", "filename": "a", "sentences": []}]})
    check_refused(path, "no split train", "it has test (1 images)", split="train")
    check_refused(path, "no split  train", split="test+ train")


def test_shards_that_cannot_be_read(tmp_path):
    for number in range(2):
        write(tmp_path, f"s{number}.tar", tar_bytes([("1.txt", b"a")]))
    write(tmp_path, "t0", "a dog")
    write(tmp_path, "t1", "a dog")
    check_refused(tmp_path / "s{0..1}.tar", "s1.tar: the sample 1 is also in", "s0.tar")
    check_refused(tmp_path / "s{0..2}.tar", "s2.tar does not exist")
    check_refused(tmp_path / "s{3..1}.tar", "must count upwards")
    check_refused(tmp_path / "s{0..999999999}.tar", "at most 100,000 shards")
    check_refused(tmp_path / "s{0..999}{0..999}.tar", "names more than 100,000 shards")
    check_refused(tmp_path / "t{0..1}", "t0 is not a tar file", "tar shards only")


def test_bad_references(tmp_path):
    one, two = write(tmp_path, "1.txt", "a\nb\n"), write(tmp_path, "2.txt", "a\nb\nc\n")
    check_refused([one, two], f"{one} (2), {two} (3)", "different numbers of lines", read=read_references)
    keyed = write(tmp_path, "r.json", {"1": ["a"]})
    check_refused([keyed, one], f"{one} has no ids but {keyed} has", read=read_references)
    check_refused([one, one], "is given twice", read=read_references)
    check_refused([], "no references file was given", read=read_references)
    check_refused(
        write(tmp_path, "e.json", {"1": ["a", None]}), "entry 1 (id 1): the caption is null", read=read_references
    )
    check_refused(write(tmp_path, "h.csv", "image_id,refs\n"), "holds no references", read=read_references)
    numpy = write(tmp_path, "p.csv", "image_id,references\n1,\"['a' 'b']\"\n")
    check_refused(numpy, "line 2", 'column "references"', "NumPy", "json.dumps", read=read_references)
    rows = [{"id": 1, "caption": "c", "refs": ["a"]}, {"id": 1, "caption": "d", "refs": ["b"]}]
    twice = write(tmp_path, "twice.json", rows)
    check_refused(twice, "row 2: id 1 appears again with other references", read=read_captions_with_references)
    check_refused(
        write(tmp_path, "g.json", GOOD),
        "no column of references",
        "--references FILE",
        read=read_captions_with_references,
    )


@pytest.mark.parametrize("name", ["coco-results", "coco", "dict", "karpathy"])
def test_json_cut_anywhere_is_called_cut_off(tmp_path, name):
    text = in_every_format([("k", 'a "dog" \\u00e9'), ("m", "é")])[name].decode()
    for end in range(2, len(text)):
        check_refused(write(tmp_path, "c.json", text[:end]), "the file seems cut off")


def outcome(read, path, **options):
    """Return the number of captions or images read, or the message."""
    try:
        return len(read(path, **options))
    except InputError as error:
        return str(error)


starts = st.sampled_from([b"", b"[", b'{"a":', b"id,caption\n"])


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60), st.sampled_from([None, *format_names()]), starts)
def test_no_content_is_a_traceback(tmp_path, data, name, start):
    path = write(tmp_path, "c", start + data)
    for read in (read_captions, read_references):
        found = outcome(read, path, format=name)
        assert found > 0 if isinstance(found, int) else str(path) in found


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_damage_is_a_traceback(tmp_path, data):
    files = in_every_format([("1", "a dog"), ("2", "a cat")])
    files |= {"webdataset": TAR, "gz": gzip.compress(b"a dog\na cat\n" * 9)}
    content = bytearray(files[data.draw(st.sampled_from(sorted(files)))])
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = write(tmp_path, "c", bytes(content[: data.draw(st.integers(1, len(content)))]))
    found = outcome(read_captions, path)
    assert found > 0 if isinstance(found, int) else str(path) in found
