"""Opening training data: shards, named sets, caption files with pictures anywhere, scenes."""

from __future__ import annotations

import csv
import json
import os
import pickle
import shutil

import pytest
import torch
from image_files import write_tar
from train_data_files import caption, captions_of, dico_members, dico_shards, jpeg, photo_folder, picture, stored

from capreward.data.images.picture_types import FilePicture, ShardPicture
from capreward.data.scenes import ScenePicture, scene
from capreward.errors import InputError
from trainers.data import Item, open_dataset


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPREWARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "shards"


def check_refused(match, *args, **options):
    with pytest.raises(InputError, match=match):
        open_dataset(*args, **options)


def pixels(image):
    return list(image.convert("RGB").tobytes())


# Shards


def test_dico_shards(tmp_path):
    data = open_dataset(dico_shards(tmp_path, [3, 2]))
    assert len(data) == 5
    assert data.keys == ["k000", "k001", "k002", "k003", "k004"]
    assert [data.captions(i) for i in range(5)] == [tuple(captions_of(i)) for i in range(5)]
    assert data.notes == ()
    for i in range(5):
        item = data[i]
        assert isinstance(item, Item)
        assert isinstance(item.picture, ShardPicture)
        with open(item.picture.path, "rb") as stream:
            stream.seek(item.picture.offset)
            assert stream.read(item.picture.size) == jpeg(i)
    assert data[3].picture.path.endswith("d-001.tar")
    assert data[2].picture.path.endswith("d-000.tar")


def test_xe_shards_and_which_member_wins(tmp_path):
    members = [
        ("0__a.jpg", jpeg(0)),
        ("0__a.txt", b"one caption\n"),
        ("1__b.PNG", jpeg(1)),
        ("1__b.json", b'["from json", "and another"]'),
        ("1__b.txt", b"from txt"),
        ("1__b.cls", b"7"),
        ("deep/er/2__c.jpeg", jpeg(2)),
        ("deep/er/2__c.txt", b"deep"),
        ("3__d.json", b'{"url": "x", "width": 3}'),
        ("3__d.txt", b"beside mere metadata"),
        ("3__d.webp", jpeg(3)),
    ]
    data = open_dataset(str(write_tar(tmp_path / "x.tar", members)))
    assert data.keys == ["0__a", "1__b", "2__c", "3__d"]
    assert [data.captions(i) for i in range(4)] == [
        ("one caption",), ("from json", "and another"), ("deep",), ("beside mere metadata",)
    ]  # fmt: skip
    assert data[2].picture.name == "deep/er/2__c.jpeg"


def test_any_number_of_references_of_any_length(tmp_path):
    members = list(dico_members(range(3), {1: 7, 2: 1}))
    long = " ".join(["word"] * 100)
    members += [("long.jpg", jpeg(3)), ("long.txt", long.encode())]
    data = open_dataset(str(write_tar(tmp_path / "x.tar", members)))
    assert [len(data.captions(i)) for i in range(4)] == [5, 7, 1, 1]
    assert data.captions(3) == (long,)
    assert data.captions(1)[6] == caption(1, 6)


def test_samples_that_lack_something_are_left_out_and_named(tmp_path):
    members = [
        ("whole.jpg", jpeg(0)), ("whole.json", json.dumps(["a", "", "  ", "b"]).encode()),
        ("mute.jpg", jpeg(1)),
        ("unseen.txt", b"no picture"),
        ("bare.jpg", jpeg(2)), ("bare.txt", b"\n"),
        ("odd.jpg", jpeg(3)), ("odd.json", b"[1, 2"),
        ("latin.jpg", jpeg(3)), ("latin.txt", b"caf\xe9"),
        ("numbers.jpg", jpeg(3)), ("numbers.json", b"[1, 2]"),
    ]  # fmt: skip
    data = open_dataset(str(write_tar(tmp_path / "x.tar", members)))
    assert data.keys == ["whole"]
    assert data.captions(0) == ("a", "b")
    notes = "\n".join(data.notes)
    assert "3 empty captions dropped" in notes
    assert "1 item without a caption left out: bare" in notes
    assert "1 sample left out, which has no .txt or .json: mute" in notes
    assert "1 sample left out, which has no picture: unseen" in notes
    assert "3 samples left out, which have captions that are unreadable" in notes
    assert "sample odd" in notes
    assert "latin" in notes


def test_corrupt_tars_are_named_with_their_place(tmp_path):
    pattern = dico_shards(tmp_path, [3, 3])
    assert len(open_dataset(pattern)) == 6
    second = tmp_path / "d-001.tar"
    whole = second.read_bytes()
    second.write_bytes(whole[: whole.index(b"k004.json") + 530])
    check_refused(r"d-001\.tar \([\d,]+ bytes\) is no whole tar file: .*the last member being k004\.json", pattern)
    header = whole.index(b"k004.jpg")
    second.write_bytes(whole[:header] + b"\xff" * 512 + whole[header + 512 :])
    check_refused(rf"d-001\.tar .* no header at byte {header:,}, the last member being k003\.json", pattern)
    second.write_bytes(b"nothing of a tar" * 100)
    check_refused(r"d-001\.tar .* is no whole tar file", pattern)
    second.unlink()
    check_refused(r"d-001\.tar cannot be read: there is no such file", pattern)


def test_keys_that_repeat_and_shards_without_samples(tmp_path):
    write_tar(tmp_path / "a.tar", dico_members([1, 2]))
    write_tar(tmp_path / "b.tar", dico_members([3, 2]))
    check_refused(r"the sample k002 is in .*a\.tar and again in .*b\.tar", f"{tmp_path}/{{a,b}}.tar")
    twice = [("k.jpg", jpeg(1)), ("k.png", jpeg(1)), ("k.txt", b"c")]
    check_refused(r"k\.jpg and k\.png are two pictures of one sample", str(write_tar(tmp_path / "c.tar", twice)))
    same = [("k.jpg", jpeg(1)), ("k.txt", b"c"), ("k.txt", b"d")]
    check_refused(r"k\.txt is the second \.txt", str(write_tar(tmp_path / "c.tar", same)))
    alone = write_tar(tmp_path / "d.tar", [("k.jpg", jpeg(1)), ("k.cls", b"1")])
    check_refused(r"d\.tar holds pictures alone; give the file of their captions, and .*d\.tar as --images", str(alone))
    write_tar(tmp_path / "d.tar", [("k.jpg", jpeg(1)), ("k.cls", b"1"), ("m.txt", b"1")])
    check_refused(
        r"d\.tar has no sample .*no \.txt or \.json: k; .*no picture: m; other members end in \.cls", str(alone)
    )
    check_refused(r"compressed", str(shutil.copy(alone, tmp_path / "d.tar.gz")))


def test_the_index_of_a_large_shard_is_kept(tmp_path, cache, monkeypatch):
    import trainers.data.shards as shards

    pattern = dico_shards(tmp_path, [4, 2])
    monkeypatch.setattr(shards, "WORTH_KEEPING", 3)
    first = open_dataset(pattern)
    (kept,) = cache.iterdir()

    def never(path):
        assert path.endswith("d-001.tar"), "the headers of the large shard were read again"
        return members(path)

    members = shards.each_member
    monkeypatch.setattr(shards, "each_member", never)
    again = open_dataset(pattern)
    assert [again[i] for i in range(6)] == [first[i] for i in range(6)]
    assert again.fingerprint() == first.fingerprint()
    monkeypatch.setattr(shards, "each_member", members)
    kept.write_bytes(kept.read_bytes()[:100])  # a damaged copy is made anew
    assert [open_dataset(pattern)[i] for i in range(6)] == [first[i] for i in range(6)]
    write_tar(tmp_path / "d-000.tar", dico_members(range(10, 14)))
    os.utime(tmp_path / "d-000.tar", ns=(1, 1))  # of the same size, and changed
    assert open_dataset(pattern).keys[:4] == ["k010", "k011", "k012", "k013"]
    monkeypatch.setenv("CAPREWARD_CACHE", "/proc/nowhere")
    assert len(open_dataset(pattern)) == 6


# Named sets


def test_datasets_json(tmp_path):
    dico_shards(tmp_path, [2, 1])
    (tmp_path / "more").mkdir()
    write_tar(tmp_path / "more" / "e.tar", dico_members([7]))
    sets = {"training": "d-{000..001}.tar", "both": ["d-{000..001}.tar", "more/e.tar"], "odd": 3, "no": "x.zip"}
    sets |= {"command": "pipe:touch ran", "mixed": ["d-000.tar", "https://x/y.tar"]}
    file = tmp_path / "datasets.json"
    file.write_text(json.dumps(sets))
    assert open_dataset(f"{file}:training").keys == ["k000", "k001", "k002"]
    assert open_dataset(f"{file}:both").keys == ["k000", "k001", "k002", "k007"]
    check_refused(r'has no set "trainin"; did you mean training\?', f"{file}:trainin")
    check_refused(r'has no set "zzz"; it has training, both, odd', f"{file}:zzz")
    check_refused(r'"odd" must be a pattern', f"{file}:odd")
    check_refused(r"no \.tar", f"{file}:no")
    check_refused(r'"command" is a command, which is run only where it is typed', f"{file}:command")
    check_refused(r"mixes files and addresses", f"{file}:mixed")
    check_refused(r"none\.json cannot be read: there is no such file", f"{tmp_path}/none.json:training")
    file.write_text("[1]")
    check_refused(r"should be a JSON object", f"{file}:training")
    file.write_text("{")
    check_refused(r"is no JSON", f"{file}:training")


# Caption files


def karpathy(folder, splits):
    images = [
        {
            "filename": f"{n}.jpg",
            "split": split,
            "sentences": [{"raw": c, "tokens": c.split()} for c in captions_of(n, 5 + n % 3)],
        }
        for n, split in enumerate(splits)
    ]
    path = folder / "dataset_tiny.json"
    path.write_text(json.dumps({"images": images}))
    return str(path)


def test_karpathy_with_a_folder(tmp_path):
    file = karpathy(tmp_path, ["train", "val", "restval", "test"])
    photos = photo_folder(tmp_path / "photos", range(4))
    data = open_dataset(file, images=str(photos), split="train+restval")
    assert data.keys == ["0.jpg", "2.jpg"]
    assert [len(data.captions(i)) for i in range(2)] == [5, 7]
    assert data.captions(1)[6] == caption(2, 6)
    assert [data[i].picture for i in range(2)] == [FilePicture(f"{photos}/{n}.jpg") for n in (0, 2)]
    check_refused(r"has several splits", file, images=str(photos))
    check_refused(r"has no split dev", file, images=str(photos), split="dev")
    (photos / "2.jpg").unlink()
    check_refused(r"1 of 2 images is not in .*: \"2.jpg\"", file, images=str(photos), split="train+restval")
    left = open_dataset(file, images=str(photos), split="train+restval", allow_missing=True)
    assert left.keys == ["0.jpg"]
    assert left.captions(0) == tuple(captions_of(0))
    assert "1 of 2 images not found and left out" in left.notes[-1]


def test_csv_with_a_column_of_paths(tmp_path):
    photo_folder(tmp_path / "photos", range(3))
    with (tmp_path / "c.csv").open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["number", "picture_file", "says"])
        for n in range(3):
            for which in range(2):
                rows.writerow([n, f"photos/{n}.jpg", caption(n, which)])
        rows.writerow([2, "photos/2.jpg", " "])
    options = {"id_column": "number", "caption_column": "says", "image_column": "picture_file"}
    data = open_dataset(str(tmp_path / "c.csv"), **options)
    assert data.keys == ["0", "1", "2"]
    assert data.captions(2) == (caption(2, 0), caption(2, 1))
    told, *notes = data.notes
    assert told == f"{tmp_path}/c.csv: csv, 3 images; id from number, references from says (7)"
    assert notes == ["1 empty caption dropped"]
    assert pixels(data[1].picture.open()) == pixels(FilePicture(str(tmp_path / "photos/1.jpg")).open())
    check_refused(r'has no column for "file"', str(tmp_path / "c.csv"), **{**options, "image_column": "file"})


def test_other_caption_files(tmp_path):
    photos = str(photo_folder(tmp_path / "photos", range(3)))
    coco = {
        "images": [{"id": n, "file_name": f"{n}.jpg"} for n in range(3)],
        "annotations": [{"image_id": n, "id": 9, "caption": caption(n, w)} for w in range(2) for n in range(3)],
    }
    files = {
        "coco.json": json.dumps(coco),
        "lines.jsonl": "\n".join(json.dumps({"image": f"{n}.jpg", "captions": captions_of(n, 2)}) for n in range(3)),
        "results.token.txt": "".join(f"{n}.jpg#{w}\t{caption(n, w)}\n" for n in range(3) for w in range(2)),
        "dict.json": json.dumps({f"{n}": captions_of(n, 2) for n in range(3)}),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        data = open_dataset(str(tmp_path / name), images=photos)
        assert [data.captions(i) for i in range(3)] == [tuple(captions_of(i, 2)) for i in range(3)], name
        assert [data[i].picture.path for i in range(3)] == [f"{photos}/{i}.jpg" for i in range(3)], name
    (tmp_path / "text.txt").write_text("a dog\na cat\n")
    check_refused(r"text without ids", str(tmp_path / "text.txt"), images=photos)
    (tmp_path / "blank.json").write_text(json.dumps({"0": [" "], "1": [""]}))
    check_refused(r"has no captions to learn from: those of all 2 items", str(tmp_path / "blank.json"), images=photos)
    (tmp_path / "some.json").write_text(json.dumps({"0": [" "], "1": ["a", ""]}))
    data = open_dataset(str(tmp_path / "some.json"), images=photos)
    assert data.keys == ["1"]
    assert data.notes[0].endswith("some.json: dict, 2 images; id from the keys, references from the values (3)")
    assert data.notes[1:] == ("2 empty captions dropped", "1 item without a caption left out: 0")


def test_real_photos(shared_data):
    folder = shared_data / "coco_photos"
    data = open_dataset(str(folder / "captions.json"), images=str(folder / "images"), count=8)
    assert len(data) == 8
    assert all(len(data.captions(i)) >= 1 for i in range(8))
    assert data[0].picture.open().size[0] > 100


def test_captions_of_shards_with_pictures_elsewhere(tmp_path):
    pattern = dico_shards(tmp_path, [2])
    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(2):
        (photos / f"k{n:03d}.jpg").write_bytes(jpeg(n))
    data = open_dataset(pattern, images=str(photos))
    assert data[1] == Item("k001", FilePicture(f"{photos}/k001.jpg"), tuple(captions_of(1)))


def test_features_of_any_shape(tmp_path):
    features = torch.arange(3 * 4 * 2, dtype=torch.float32).reshape(3, 4, 2)
    stored(tmp_path / "store", ["k000", "k001", "k002"], features)
    (tmp_path / "c.json").write_text(json.dumps({f"k{n:03d}": captions_of(n) for n in (2, 0)}))
    data = open_dataset(str(tmp_path / "c.json"), images=str(tmp_path / "store"))
    assert data.keys == ["k002", "k000"]
    assert torch.equal(data[0].picture.feature(), features[2])
    assert torch.equal(data[1].picture.feature(), features[0])
    assert data[0].captions == tuple(captions_of(2))


# Scenes


def test_scenes():
    data = open_dataset("scenes:val:7", count=4)
    assert data.keys == [scene("val", i, 7).key for i in range(4)]
    assert data[3] == Item(scene("val", 3, 7).key, ScenePicture("val", 3, 7), scene("val", 3, 7).captions)
    assert len(open_dataset("scenes")) == 20_000
    assert open_dataset("scenes").keys[0] == "scenes-train-000000"
    assert len(open_dataset("scenes:test")) == 1_000
    assert open_dataset("scenes", split="val", count=2).keys == ["scenes-val-000000", "scenes-val-000001"]
    check_refused(r"names the split val and --split test", "scenes:val", split="test")
    check_refused(r"SPLIT one of train, val, test", "scenes", split="dev")
    check_refused(r"scenes knows no caption column; leave --caption-column out", "scenes", caption_column="c")
    check_refused(r"count must be 1 or more", "scenes", count=0)


# Fingerprints


def test_fingerprints_tell_items_and_nothing_else(tmp_path):
    pattern = dico_shards(tmp_path, [3, 2])
    known = open_dataset(pattern).fingerprint()
    assert known == open_dataset(pattern).fingerprint()
    (tmp_path / "moved").mkdir()
    assert open_dataset(dico_shards(tmp_path / "moved", [1, 4], "other")).fingerprint() == known
    (tmp_path / "c.json").write_text(json.dumps({f"k{n:03d}": captions_of(n) for n in range(5)}))
    assert open_dataset(str(tmp_path / "c.json"), images=pattern).fingerprint() == known

    def changed(members):
        return open_dataset(str(write_tar(tmp_path / "x.tar", members))).fingerprint()

    members = list(dico_members(range(5)))
    others = [
        members[:8],
        members[2:4] + members[:2] + members[4:],
        [("kk.jpg", members[0][1]), ("kk.json", members[1][1]), *members[2:]],
        [members[0], ("k000.json", json.dumps(captions_of(0)[::-1]).encode()), *members[2:]],
        [members[0], ("k000.json", json.dumps(captions_of(0)[:4]).encode()), *members[2:]],
    ]
    prints = [changed(each) for each in others]
    assert len({known, *prints}) == 6
    assert changed(members) == known
    names = [[("ab.jpg", "c.jpg"), ("a.jpg", "bc.jpg")][n] for n in range(2)]
    split = [changed([m for name in each for m in ((name, jpeg(0)), (f"{name[:-4]}.txt", b"x"))]) for each in names]
    assert split[0] != split[1]
    scenes = [open_dataset(*args) for args in (("scenes",), ("scenes:val",), ("scenes:train:1",))]
    assert len({s.fingerprint() for s in scenes} | {open_dataset("scenes", count=5).fingerprint()}) == 4


def test_counts_and_options_that_do_not_apply(tmp_path):
    pattern = dico_shards(tmp_path, [3, 2])
    data = open_dataset(pattern, count=4)
    assert data.keys == ["k000", "k001", "k002", "k003"]
    assert data[3] == open_dataset(pattern)[3]
    assert data.fingerprint() == open_dataset(dico_shards(tmp_path, [4], "four")).fingerprint()
    assert len(open_dataset(pattern, count=9)) == 5
    check_refused(r"knows no split; leave --split out", pattern, split="train")
    check_refused(r"knows no image column", pattern, image_column="x")
    check_refused(r"does not exist", str(tmp_path / "none.json"))


def test_datasets_pickle_small(tmp_path):
    data = open_dataset(dico_shards(tmp_path, [3]))
    again = pickle.loads(pickle.dumps(data))
    assert [again[i] for i in range(3)] == [data[i] for i in range(3)]
    assert len(pickle.dumps(open_dataset("scenes", count=1000))) < 60_000
    assert picture(1).size == (40, 30)
