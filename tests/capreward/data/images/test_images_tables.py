"""Pictures in the columns of tables, several places together, and files of captions that hold their own pictures."""

from __future__ import annotations

import base64
import csv
import io
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from image_files import encoded, write_tar
from picture_tables import KINDS, ROWS, number_of, png, table_of, text64
from PIL import Image

from capreward.data.captions import read_captions
from capreward.data.images import arrow_cells
from capreward.data.images.encoded_image import BrokenImage
from capreward.data.images.inventory import list_pictures
from capreward.data.images.lookup import find_images
from capreward.data.images.tables import PictureTable
from capreward.data.tables import ArrowTable
from capreward.errors import InputError


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_table_gives_the_picture_of_each_id(tmp_path, kind):
    path = table_of(tmp_path / "t.data", kind, ROWS)
    table = PictureTable(path)
    assert (table.names, table.column, table.id, table.holds) == (
        ["10", "11", "12", "13", "14"],
        "image",
        "image_id",
        True,
    )
    found = find_images(path, ["14", "000010", "12.jpg", "100", "COCO_val2014_000000000103.jpg", "14"])
    assert [number_of(p) for p in found.images] == [4, 0, 2, 0, 3, 4]
    assert found.source == "table"
    assert found.report == f"6 of 6 images found in {path} (ids matched 2 exactly, 2 as file names, 2 as numbers)"
    keys, pictures = list_pictures(path, 3)
    assert (keys, [number_of(p) for p in pictures]) == (["10", "11", "12"], [0, 1, 2])
    # As in a worker process: nothing that is open travels, and none of the pictures that are not asked for does.
    sent = pickle.dumps(found.images[2])
    assert number_of(pickle.loads(sent)) == 2
    assert len({p.key for p in found.images}) == 4


@pytest.mark.parametrize("kind", ["tsv", "jsonl", "parquet", "arrow"])
def test_pictures_are_not_kept_in_memory(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    data = encoded(Image.fromarray(noise))
    rows = [{"image_id": n, "image": data + bytes([n])} for n in range(50)]
    found = find_images(table_of(tmp_path / "t", kind, rows), [str(n) for n in range(50)])
    assert len(pickle.dumps(found.images)) < len(data)
    assert np.array_equal(np.asarray(found.images[49].open()), noise)


def test_large_row_groups_are_read_through_in_order_and_again(tmp_path, monkeypatch):
    monkeypatch.setattr(arrow_cells, "_WHOLE", 0)
    monkeypatch.setattr(arrow_cells, "_STEP", 3)
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist([{"image_id": n, "image": png(n)} for n in range(20)]), path, row_group_size=8)
    pictures = PictureTable(path)
    order = [0, 1, 2, 3, 9, 8, 7, 19, 0, 19, 5, 5, 4]
    assert [number_of(pictures.picture(str(n))) for n in order] == order
    assert len(pictures.picture("5").cells._reader._rows) <= 3


def test_hugging_face_s_structs(tmp_path):
    (tmp_path / "on_disk.png").write_bytes(png(8))
    rows = [
        {"image": {"bytes": png(3), "path": "a.png"}, "img_id": "7"},
        {"image": {"bytes": None, "path": "on_disk.png"}, "img_id": "8"},
        {"image": {"bytes": None, "path": None}, "img_id": "9"},
    ]
    for kind in ("parquet", "arrow", "stream"):
        path = table_of(tmp_path / f"t.{kind}", kind, rows)
        found = find_images(path, ["a.png", "8", "9"]).images
        assert [number_of(p) for p in found[:2]] == [3, 8]
        with pytest.raises(BrokenImage, match=r'the picture of id 9 \(.*t\.\w+, row 3, column "image"\) is empty$'):
            found[2].open()
    lines = tmp_path / "t.jsonl"
    lines.write_text("".join(json.dumps({**r, "image": {"path": "on_disk.png"}}) + "\n" for r in rows))
    assert number_of(find_images(lines, ["9"]).images[0]) == 8


def test_columns_of_paths(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.png").write_bytes(png(1))
    (tmp_path / "b.png").write_bytes(png(2))
    listed = tmp_path / "list.csv"
    listed.write_text("id,image_path\n1,sub/a.png\n2,b.png\n3,gone.png\n")
    found = find_images(listed, ["1", "2"])
    assert [str(p) for p in found.images] == [str(tmp_path / "sub/a.png"), str(tmp_path / "b.png")]
    with pytest.raises(
        InputError, match=r'1 of 2 images is not in .*list\.csv with a file under .* directory: "3"; add'
    ):
        find_images(listed, ["1", "3"])
    assert find_images(listed, ["1", "3"], allow_missing=True).images[1] is None
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub" / "list.tsv").write_text("image_path\nb.png\nsub/a.png\n")
    keys, pictures = list_pictures("sub/list.tsv")
    assert keys == ["b.png", "sub/a.png"]
    assert [number_of(p) for p in pictures] == [2, 1]


def test_coco_s_list_of_images(tmp_path):
    (tmp_path / "p.png").write_bytes(png(6))
    path = tmp_path / "captions.json"
    images = [{"id": 42, "file_name": "p.png"}]
    path.write_text(json.dumps({"images": images, "annotations": [{"image_id": 42, "caption": "a"}]}))
    assert number_of(find_images(path, ["42"]).images[0]) == 6
    assert list_pictures(path)[0] == ["42"]


def test_a_row_may_name_the_row_that_has_the_picture(tmp_path):
    """VLMEvalKit writes the picture once, and the index of its row in the others."""
    path = tmp_path / "bench.tsv"
    path.write_text(f"index\timage\tquestion\n5\t{text64(png(5))}\ta\n6\t5\tb\n7\t{text64(png(7))}\tc\n")
    assert [number_of(p) for p in find_images(path, ["6", "7", "5"]).images] == [5, 7, 5]


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_photos_are_longer_than_csv_s_cells(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (250, 250, 3)).astype(np.uint8)
    data = encoded(Image.fromarray(noise))
    assert len(data) > csv.field_size_limit() == 131_072
    path = table_of(tmp_path / "t", kind, [{"image_id": 1, "caption": "a dog", "image": data}])
    assert np.array_equal(np.asarray(find_images(path, ["1"]).images[0].open()), noise)
    assert read_captions(path).captions == ["a dog"]
    assert csv.field_size_limit() == 131_072


def test_the_same_text_is_the_same_picture_and_the_beginning_of_one_is_not(tmp_path):
    whole = text64(png(1))
    path = tmp_path / "t.tsv"
    path.write_text(f"id\timage\n1\t{whole}\n2\t{whole}\n3\t{whole[:40]}\n")
    one, two, three = list_pictures(path)[1]
    assert one.key == two.key != three.key
    with pytest.raises(BrokenImage, match=r"id 3 \(.*line 4"):
        three.open()


@pytest.mark.parametrize("kind", ["parquet", "tsv"])
def test_an_id_may_repeat_with_its_picture_and_with_no_other(tmp_path, kind):
    rows = [{"image_id": 1, "image": png(1)}, {"image_id": 2, "image": png(2)}, {"image_id": 1, "image": png(1)}]
    assert PictureTable(table_of(tmp_path / "same", kind, rows)).names == ["1", "2"]
    rows[2]["image"] = png(3)
    rows_are = "rows 1 and 3" if kind == "parquet" else "lines 2 and 4"
    with pytest.raises(InputError, match=rf'has different pictures of the id "1" \({rows_are}\); say which column'):
        PictureTable(table_of(tmp_path / "other", kind, rows))


def test_two_columns_of_pictures_and_none(tmp_path):
    rows = [{"id": 1, "image": png(1), "photo": png(2), "mask": png(3)}]
    path = table_of(tmp_path / "two.parquet", "parquet", rows)
    with pytest.raises(InputError, match=r'could be the column "image" or "photo"; say which with --image-column$'):
        find_images(path, ["1"])
    assert number_of(find_images(path, ["1"], image_column="photo").images[0]) == 2
    assert number_of(find_images(path, ["1"], image_column="mask").images[0]) == 3
    odd = table_of(tmp_path / "odd.parquet", "parquet", [{"id": 1, "scan": png(4), "note": "a b"}])
    assert number_of(find_images(odd, ["1"]).images[0]) == 4
    (tmp_path / "none.csv").write_text("image_id,caption\n1,a dog runs\n")
    with pytest.raises(
        InputError, match=r"has no column for pictures; its columns are 'image_id', 'caption': name one"
    ):
        find_images(tmp_path / "none.csv", ["1"])
    (tmp_path / "plain.txt").write_text("a dog runs\na cat sits\n")
    with pytest.raises(InputError, match="plain.txt has no columns, and so no pictures; give a folder"):
        find_images(tmp_path / "plain.txt", ["1"])


def test_the_column_of_ids_is_chosen_as_for_captions(tmp_path):
    rows = [{"photo_id": n, "clip_id": 10 - n, "image": png(n)} for n in range(3)]
    path = table_of(tmp_path / "t.parquet", "parquet", rows)
    with pytest.raises(InputError, match=r'the ids could be the column "photo_id" or "clip_id"; .*--images-id-column$'):
        find_images(path, ["1"])
    assert number_of(find_images(path, ["9"], id_column="clip_id").images[0]) == 1
    assert number_of(find_images(path, ["1"], id_column="row").images[0]) == 0
    bare = table_of(tmp_path / "bare.parquet", "parquet", [{"image": png(n)} for n in range(3)])
    with pytest.raises(InputError, match="has no column for ids; .* or give --images-id-column row if row n"):
        find_images(bare, ["1"])
    assert list_pictures(bare)[0] == ["1", "2", "3"]
    with pytest.raises(InputError, match="is no table, so it has no column of ids; leave --images-id-column out"):
        find_images(tmp_path, ["1"], id_column="x")


@pytest.mark.parametrize(
    "cell, sentence",
    [
        ("iVBORw0KGgoAAAA", "is no whole base64 (incorrect padding); write the cell again"),
        ("iVBORw0KGgo!AAA=", "is no whole base64"),
        (text64(png(1)[:40]), "is damaged"),
        ("", "is empty"),
        ("gone.png", "gone.png does not exist"),
    ],
)
def test_broken_cells_are_broken_pictures(tmp_path, cell, sentence):
    path = tmp_path / "t.tsv"
    path.write_text(f"index\timage\n1\t{text64(png(1))}\n42\t{cell}\n")
    _, pictures = list_pictures(path)
    with pytest.raises(BrokenImage) as refused:
        pictures[1].open()
    assert sentence in str(refused.value)
    if "gone" not in cell:
        assert str(refused.value).startswith(f'the picture of id 42 ({path}, line 3, column "image") is ')


def test_base64_of_other_alphabets_over_lines_and_escaped(tmp_path):
    data = encoded(Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 9, 3)).astype(np.uint8)))
    plain = text64(data)
    folded = "\n".join(plain[i : i + 76] for i in range(0, len(plain), 76))
    path = tmp_path / "t.csv"
    path.write_text(f'id,image\n1,"{folded}"\n2,{base64.urlsafe_b64encode(data).decode()}\n')
    escaped = tmp_path / "t.jsonl"
    escaped.write_text("".join(json.dumps({"id": n, "image": plain}).replace("/", "\\/") + "\n" for n in (1, 2)))
    assert "\\/" in escaped.read_text()
    for file in (path, escaped):
        assert [
            p.open().tobytes() == Image.open(io.BytesIO(data)).tobytes() for p in find_images(file, ["1", "2"]).images
        ] == [True] * 2


def test_a_file_that_changes_is_told(tmp_path):
    path = table_of(tmp_path / "t.tsv", "tsv", ROWS)
    found = find_images(path, ["14"]).images[0]
    path.write_text("image_id\timage\n")
    with pytest.raises(BrokenImage, match="the picture of id 14 .* is"):
        found.open()
    rows = table_of(tmp_path / "t.parquet", "parquet", ROWS)
    other = find_images(rows, ["14"]).images[0]
    table_of(rows, "parquet", ROWS[:1])
    with pytest.raises(BrokenImage, match=r"row 5 of .*t\.parquet cannot be read \(it has 1 rows\)"):
        other.open()


def test_few_rows_of_wide_columns_are_read_at_a_time(tmp_path):
    path = tmp_path / "t.parquet"
    rows = [{"image_id": n, "image": bytes(1 << 20), "caption": "a"} for n in range(80)]
    pq.write_table(pa.Table.from_pylist(rows), path, compression="none", use_dictionary=False)
    from capreward.data.file_content import load_content

    table = ArrowTable(load_content(path))
    assert max(len(b) for b in table._batches(["image_id", "image"])) <= 32
    assert [len(b) for b in table._batches(["image_id", "caption"])] == [80]
    assert [n for n, _ in table.rows(["image_id", "image"])] == list(range(1, 81))


# Several places


def test_places_add_up_and_differing_pictures_are_refused(tmp_path):
    for folder, numbers in (("a", (1, 2)), ("b", (3,)), ("c", (2,))):
        (tmp_path / folder).mkdir()
        for n in numbers:
            (tmp_path / folder / f"{n}.png").write_bytes(png(n))
    write_tar(tmp_path / "s.tar", [("4.png", png(4))])
    table = table_of(tmp_path / "t.parquet", "parquet", [{"id": 5, "image": png(5)}])
    found = find_images((tmp_path / "a", str(tmp_path / "b"), tmp_path / "s.tar", table), ["5", "1", "4", "3", "2"])
    assert [number_of(p) for p in found.images] == [5, 1, 4, 3, 2]
    assert found.source == "folder+shards+table"
    assert found.report.startswith(f"5 of 5 images found in {tmp_path}/a, {tmp_path}/b, {tmp_path}/s.tar, {table} (")
    with pytest.raises(
        InputError, match=rf'two of the --images have a picture of "2": {tmp_path}/a/2\.png and .*c/2\.png'
    ):
        find_images((tmp_path / "a", tmp_path / "c"), ["1", "2"])
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert find_images((tmp_path / "a", tmp_path / "link"), ["2"]).images[0].path == f"{tmp_path}/a/2.png"
    with pytest.raises(InputError, match=r"1 of 2 images is in none of .*/a, .*/b: \"9\"; add what is missing"):
        find_images((tmp_path / "a", tmp_path / "b"), ["1", "9"])
    with pytest.raises(InputError, match="/a is given twice; give each place once"):
        find_images((tmp_path / "a", str(tmp_path / "a")), ["1"])


def test_a_brace_pattern_of_tables(tmp_path):
    for n in range(3):
        table_of(tmp_path / f"train-{n:05d}.parquet", "parquet", [{"id": n, "image": png(n)}])
    found = find_images(str(tmp_path / "train-{00000..00002}.parquet"), ["2", "0"])
    assert [number_of(p) for p in found.images] == [2, 0]


# Commands
