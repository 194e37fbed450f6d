"""Commands that take tables with pictures, several places together, and files of captions with their own."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pytest
from case_files import case_folder
from image_files import encoded
from picture_tables import CLIPS, png, run, scenes_of, table_of, text64, value
from PIL import Image

import capreward
from capreward.data.caption_files import read_captions
from capreward.data.images.caption_file_pictures import own_pictures
from capreward.data.images.picture_lists import list_pictures
from capreward.data.images.picture_tables import PictureTable
from capreward.errors import InputError
from trainers.data.loading import open_dataset


def test_score_takes_tables_and_several_places(tmp_path):
    scenes = list(scenes_of(tmp_path).values())
    captions = tmp_path / "c.json"
    captions.write_text(json.dumps([{"image_id": n, "caption": said} for n, (said, _) in enumerate(scenes)]))
    (tmp_path / "photos").mkdir()
    for n, (_, data) in enumerate(scenes):
        (tmp_path / "photos" / f"{n}.png").write_bytes(data)
    how = ("-m", CLIPS, "--json", "--resamples", 0)
    right = value(run("score", captions, "-i", tmp_path / "photos", *how))
    rows = [{"image_id": n, "caption": said, "image": data} for n, (said, data) in enumerate(scenes)]
    whole = table_of(tmp_path / "d.parquet", "parquet", rows)
    assert value(run("score", captions, "-i", whole, *how)) == right
    own = run("score", whole, *how)
    assert value(own) == right
    assert f"6 of 6 images found in {whole} (ids matched exactly)" in own.stderr
    for kind in ("tsv", "jsonl", "arrow"):
        assert value(run("score", table_of(tmp_path / f"d.{kind}", kind, rows), *how)) == right
    halves = [table_of(tmp_path / f"h{n}.tsv", "tsv", rows[n::2]) for n in (0, 1)]
    assert value(run("score", captions, "-i", halves[0], "-i", halves[1], *how)) == right
    assert capreward.score(captions, images=(str(halves[0]), halves[1]), metrics=CLIPS)["clips"].value == right
    with pytest.raises(InputError, match="or a tuple of several"):
        capreward.score(captions, images=[str(halves[0]), halves[1]], metrics=CLIPS)
    refused = run("score", captions, "-i", halves[0], *how)
    assert refused.exit_code == 2
    assert f'3 of 6 images are not in {halves[0]}: "1", "3", "5"' in refused.stderr


def test_score_with_columns_of_the_user_s_choice(tmp_path):
    scenes = list(scenes_of(tmp_path, 4).values())
    captions = tmp_path / "c.json"
    captions.write_text(json.dumps([{"image_id": n, "caption": said} for n, (said, _) in enumerate(scenes)]))
    rows = [{"nr": n, "uid": 3 - n, "photo": data, "image": scenes[3 - n][1]} for n, (_, data) in enumerate(scenes)]
    table = table_of(tmp_path / "t.parquet", "parquet", rows)
    how = ("-m", CLIPS, "--json", "--resamples", 0)
    refused = run("score", captions, "-i", table, *how)
    assert refused.exit_code == 2
    assert 'the pictures could be the column "photo" or "image"; say which with --image-column' in refused.stderr
    one = value(run("score", captions, "-i", table, "--image-column", "image", *how))  # the ids are those of uid
    two = value(run("score", captions, "-i", table, "--image-column", "photo", "--images-id-column", "nr", *how))
    wrong = value(run("score", captions, "-i", table, "--image-column", "photo", *how))
    assert one == two != wrong


def test_broken_cells_and_skip_broken(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text(f"index\timage\tprediction\n1\t{text64(png(1))}\ta red square\n2\tiVBORw0KGgoAAAA\ta cat\n")
    refused = run("score", path, "-m", CLIPS)
    assert refused.exit_code == 2
    assert f'the picture of id 2 ({path}, line 3, column "image") is no whole base64' in refused.stderr
    done = run("score", path, "-m", CLIPS, "--skip-broken", "--json", "--resamples", 0)
    assert value(done) > 0


def test_embed_and_caption_and_pack_take_tables(tmp_path):
    scenes = scenes_of(tmp_path, 5)
    rows = [{"image_id": key, "image": data, "caption": said} for key, (said, data) in scenes.items()]
    table = table_of(tmp_path / "d.parquet", "parquet", rows)
    done = run("embed", table, tmp_path / "s", "-o", tmp_path / "twice", "--model", "scenes-clip")
    assert done.exit_code == 2
    assert "two pictures have the key" in done.stderr
    first = table_of(tmp_path / "first.tsv", "tsv", rows[:2])
    rest = table_of(tmp_path / "rest.jsonl", "jsonl", rows[2:])
    done = run("embed", first, rest, "-o", tmp_path / "store", "--model", "scenes-clip")
    assert done.exit_code == 0, done.stderr
    assert "5 pictures embedded" in done.stderr
    captions = tmp_path / "c.json"
    captions.write_text(json.dumps([{"image_id": key, "caption": said} for key, (said, _) in scenes.items()]))
    how = ("-m", CLIPS, "--json", "--resamples", 0)
    stored = value(run("score", captions, "-i", tmp_path / "store", *how))
    assert stored == pytest.approx(value(run("score", table, *how)), rel=1e-5)
    own = run("embed", "--captions", table, "-o", tmp_path / "own", "--model", "scenes-clip")
    assert own.exit_code == 0, own.stderr
    assert "5 pictures embedded" in own.stderr
    said = run("caption", table, "-o", tmp_path / "said.json")
    assert said.exit_code == 0, said.stderr
    assert {row["image_id"] for row in json.loads((tmp_path / "said.json").read_text())} == scenes.keys()
    packed = run("pack", table, "-o", tmp_path / "shards", "--verify")
    assert packed.exit_code == 0, packed.stderr
    assert "5 pictures and 5 captions are sound" in packed.stderr


@pytest.mark.parametrize("kind", ["parquet", "tsv", "jsonl"])
def test_pack_keeps_the_very_bytes_of_jpegs(tmp_path, kind):
    noise = np.random.default_rng(3).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    jpegs = [encoded(Image.fromarray(np.roll(noise, n)), "JPEG", quality=71) for n in range(3)]
    rows = [{"image_id": n, "image": data, "caption": "a dog"} for n, data in enumerate(jpegs)]
    table = table_of(tmp_path / f"d.{kind}", kind, rows)
    packed = run("pack", table, "-o", tmp_path / "shards")
    assert packed.exit_code == 0, packed.stderr
    found = {}
    for shard in (tmp_path / "shards").glob("*.tar"):
        with tarfile.open(shard) as archive:
            found |= {m.name: archive.extractfile(m).read() for m in archive if m.name.endswith(("jpg", "jpeg"))}
    assert [found[name] for name in sorted(found)] == jpegs


def test_train_takes_a_table_with_its_pictures(tmp_path):
    rows = [{"image_id": key, "image": data, "caption": said} for key, (said, data) in scenes_of(tmp_path, 8).items()]
    table = table_of(tmp_path / "d.parquet", "parquet", [{**row, "image_id": f"x{n}"} for n, row in enumerate(rows)])
    data = open_dataset(str(table))
    assert data.keys == [f"x{n}" for n in range(8)]
    assert [data.picture(n).open().tobytes() for n in (7, 0)] == [
        Image.open(io.BytesIO(rows[n]["image"])).tobytes() for n in (7, 0)
    ]
    captions = tmp_path / "c.json"
    captions.write_text(json.dumps({f"x{n}": [row["caption"]] for n, row in enumerate(rows)}))
    other = open_dataset(str(captions), images=str(table), image_column="image")
    assert other.picture(3).key == data.picture(3).key


def test_hugging_face_s_exports():
    folder = case_folder()
    for name, key in (("F12g_hf_coco.parquet", "cocoid"), ("F12h_hf_flickr.parquet", "img_id")):
        table = PictureTable(folder / name)
        assert (table.names, table.id, table.column) == (["0", "1", "2"], key, "image")
        assert table.picture("0").open().size == (8, 8)
        assert table.find("2.png") == ("2", "as file names")
        read = capreward.data.caption_files.read_references(folder / name)
        assert isinstance(own_pictures(read, list(read.references)), PictureTable)
    lines = read_captions(folder / "F12l_image_object.jsonl")
    assert own_pictures(lines, lines.keys) is None  # it names files, and holds none
    assert len({p.open().tobytes() for p in list_pictures(folder / "F12g_hf_coco.parquet")[1]}) == 3
