"""Which picture an id means: in folders, shards, stores, the scenes world, and at paths."""

from __future__ import annotations

import gzip
import json
import os
import tarfile

import pytest
import torch
from image_files import encoded, in_mode, write_tar

from capreward.data.caption_files import read_captions
from capreward.data.images.folder import PictureFolder, is_picture_name
from capreward.data.images.picture_lookup import find_images
from capreward.data.images.picture_shards import ShardIndex
from capreward.data.images.picture_types import FilePicture, ShardPicture
from capreward.data.images.preprocessing import prepare
from capreward.encoders.spec import Preprocessing
from capreward.errors import InputError

PNG = encoded(in_mode("RGB"))


def fill(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PNG)
    return folder


@pytest.mark.parametrize("name, expected", [
    ("a.jpg", True), ("a.JPEG", True), ("a.b.Png", True), ("a.tiff", True), ("a.tif", True), ("a.webp", True),
    ("a.gif", True), ("a.bmp", True), (".a.jpg", False), ("._a.jpg", False), ("a.txt", False), ("jpg", False),
    ("a.jpg.txt", False), ("a.npy", False), ("a.AVIF", True), ("a.jp2", True), ("a.j2k", True), ("a.heic", False),
])  # fmt: skip
def test_picture_names(name, expected):
    assert is_picture_name(name) is expected


def test_folders_are_walked(tmp_path):
    fill(
        tmp_path,
        "b.png",
        "sub/a.JPG",
        "sub/deep/c.webp",
        ".hidden/d.png",
        ".e.png",
        "notes.txt",
        "x.npy",
        "dir.png/f.gif",
    )
    assert PictureFolder(tmp_path).names == ["b.png", "dir.png/f.gif", "sub/a.JPG", "sub/deep/c.webp"]
    assert len(PictureFolder(str(tmp_path))) == 4


def test_linked_folders_are_entered_once(tmp_path):
    fill(tmp_path / "real", "a.png")
    (tmp_path / "photos").mkdir()
    os.symlink(tmp_path / "real", tmp_path / "photos" / "train")
    os.symlink(tmp_path / "photos", tmp_path / "real" / "loop")
    assert PictureFolder(tmp_path / "photos").names == ["train/a.png"]


@pytest.mark.parametrize(
    "key, expected, how",
    [
        ("COCO_val2014_000000000042.jpg", "COCO_val2014_000000000042.jpg", "exactly"),
        ("COCO_val2014_000000000042", "COCO_val2014_000000000042.jpg", "as file names"),
        ("42", "COCO_val2014_000000000042.jpg", "as numbers"),
        ("000000000042", "COCO_val2014_000000000042.jpg", "as numbers"),
        ("42.0", "COCO_val2014_000000000042.jpg", "as numbers"),
        ("/data/val2014/COCO_val2014_000000000042.jpg", "COCO_val2014_000000000042.jpg", "as file names"),
        ("train/7.png", "train/7.png", "exactly"),
        ("train/7", "train/7.png", "as file names"),
        ("/data/photos/val/7.png", "val/7.png", "as file names"),
        ("photos\\val\\7.png", "val/7.png", "as file names"),
        ("10815824_2997e03d76.jpg", "flickr/10815824_2997e03d76.jpg", "as file names"),
        ("10815824_2997e03d76", "flickr/10815824_2997e03d76.jpg", "as file names"),
        ("10815824_2997e03d76.jpeg", "flickr/10815824_2997e03d76.jpg", "as file names"),
        ("3.5", "3.5.png", "as file names"),
        ("two", "two.dots.png", "as file names"),
        ("two.dots", "two.dots.png", "as file names"),
    ],
)
def test_ids_mean_files(tmp_path, key, expected, how):
    fill(tmp_path, "COCO_val2014_000000000042.jpg", "train/7.png", "val/7.png", "flickr/10815824_2997e03d76.jpg")
    fill(tmp_path, "3.5.png", "two.dots.png")
    assert PictureFolder(tmp_path).find(key) == (expected, how)


@pytest.mark.parametrize("key", ["8", "43", "COCO_val2014", "val", "", "10815824", "dots", "8.png/"])
def test_ids_that_mean_no_file(tmp_path, key):
    fill(tmp_path, "COCO_val2014_000000000042.jpg", "train/7.png", "flickr/10815824_2997e03d76.jpg", "two.dots.png")
    assert PictureFolder(tmp_path).find(key) is None


@pytest.mark.parametrize(
    "names, key",
    [
        (("train/7.png", "val/7.png"), "7.png"),
        (("train/7.png", "val/7.png"), "7"),
        (("7.jpg", "7.png"), "7"),
        (("a.1.png", "a.2.png"), "a"),
        (("007.png", "07.png"), "7"),
    ],
)
def test_ambiguous_ids_are_refused_and_name_both(tmp_path, names, key):
    folder = PictureFolder(fill(tmp_path, *names))
    with pytest.raises(
        InputError, match=f'has both "{names[0]}" and "{names[1]}", and "{key}" could mean either; write'
    ):
        folder.find(key)


def test_a_name_at_the_top_wins_over_one_below(tmp_path):
    folder = PictureFolder(fill(tmp_path, "7.png", "thumbs/7.png"))
    assert folder.find("7")[0] == "7.png"
    assert folder.find("7.png")[0] == "7.png"
    assert folder.find("thumbs/7")[0] == "thumbs/7.png"


def test_folders_without_pictures(tmp_path):
    with pytest.raises(InputError, match=r"has no pictures \(avif, bmp, gif, .*\); it is empty$"):
        PictureFolder(tmp_path)
    fill(tmp_path, "a.npy", "b.npy", "c.txt")
    with pytest.raises(InputError, match=r"has no pictures \(.*\); it holds 2 \.npy, 1 \.txt$"):
        PictureFolder(tmp_path)
    fill(tmp_path, "s.tar")
    with pytest.raises(InputError, match=r"but 1 \.tar; give shards by name: .*NAME\.tar$"):
        PictureFolder(tmp_path)


def test_images_of_a_folder(tmp_path):
    fill(tmp_path, "1.png", "2.jpg", "sub/0003.png")
    found = find_images(tmp_path, ["3", "1", "2.jpg", "1"])
    assert found.images == [FilePicture(str(tmp_path / name)) for name in ("sub/0003.png", "1.png", "2.jpg", "1.png")]
    assert found.report == f"4 of 4 images found in {tmp_path} (ids matched 1 exactly, 2 as file names, 1 as numbers)"
    assert (found.notes, found.source) == ((), "folder")
    assert find_images(str(tmp_path), ["1"]).report == f"1 of 1 image found in {tmp_path} (ids matched as file names)"


def test_the_name_that_the_file_gives_wins_over_the_id(tmp_path):
    """Flickr30k's ids count images; a file that happens to be called 0.jpg is not image 0."""
    fill(tmp_path, "0.jpg", "1000092795.jpg")
    found = find_images(tmp_path, ["0"], aliases={"1000092795.jpg": "0", "other.jpg": "9"})
    assert str(found.images[0]) == str(tmp_path / "1000092795.jpg")
    assert found.report.endswith("(ids matched as file names)")
    assert str(find_images(tmp_path, ["0"], aliases={"gone.jpg": "0"}).images[0]) == str(tmp_path / "0.jpg")


def test_missing_images(tmp_path):
    fill(tmp_path, "1.png")
    with pytest.raises(InputError) as told:
        find_images(tmp_path, ["1", "2", "3", "4", "5", "6"])
    assert str(told.value) == (
        f'5 of 6 images are not in {tmp_path}: "2", "3", "4" and 2 more; '
        "add what is missing, or leave such captions out with --allow-missing"
    )
    found = find_images(tmp_path, ["2", "1", "3"], allow_missing=True)
    assert [image is None for image in found.images] == [True, False, True]
    assert found.notes == ('2 of 3 images not found and left out: "2", "3"',)
    assert found.report == f"1 of 3 images found in {tmp_path} (ids matched as file names)"
    for allow in (False, True):
        with pytest.raises(InputError) as told:
            find_images(tmp_path, ["x", "y"], allow_missing=allow)
        assert str(told.value) == (
            f'none of the 2 images is in {tmp_path}: the first id is "x", the first name there "1.png"; '
            "check that captions and pictures belong together"
        )


def test_sources_that_are_none(tmp_path):
    fill(tmp_path, "photos/1.png", "notes.txt")
    with pytest.raises(InputError, match=r"--images gone: there is no such file or folder; give a folder"):
        find_images("gone", ["1"])
    with pytest.raises(InputError, match=rf"1\.png is a file; give its folder: {tmp_path}/photos$"):
        find_images(tmp_path / "photos" / "1.png", ["1"])
    with pytest.raises(InputError, match=r"notes\.txt is a PNG picture, not a caption file$"):
        find_images(tmp_path / "notes.txt", ["1"])


def test_ids_that_are_paths(tmp_path, monkeypatch):
    fill(tmp_path, "data/a.png", "data/sub/b.png", "here/c.png", "here/a.png")
    monkeypatch.chdir(tmp_path / "here")
    keys = ["a.png", "sub/b.png", str(tmp_path / "data" / "a.png"), "c.png", "9"]
    found = find_images(None, keys, aliases={"sub/b.png": "9"}, base=tmp_path / "data")
    data = tmp_path / "data"
    assert [str(x) for x in found.images] == [*map(str, (data / "a.png", data / "sub/b.png", keys[2])), "c.png",
                                              str(data / "sub/b.png")]  # fmt: skip
    assert (found.report, found.source) == ("5 of 5 images found at their paths", "column")
    assert str(find_images(None, ["a.png"]).images[0]) == "a.png"


def test_ids_that_are_no_paths(tmp_path):
    fill(tmp_path, "a.png")
    with pytest.raises(InputError) as told:
        find_images(None, ["a.png", "b.png"], base=tmp_path)
    assert str(told.value) == (
        f'1 of 2 images is no file under {tmp_path} or the working directory: "b.png"; '
        "add what is missing, or leave such captions out with --allow-missing"
    )
    with pytest.raises(InputError) as told:
        find_images(None, ["391895", "7"], base=tmp_path)
    assert str(told.value) == (
        f'none of the 2 images is a file under {tmp_path} or the working directory: the first id is "391895"; '
        "give the pictures with --images FOLDER"
    )


def test_images_of_shards(tmp_path):
    write_tar(tmp_path / "s-00.tar", [("000001.jpg", PNG), ("000001.txt", b"a dog"), ("000001.mask.png", PNG)])
    write_tar(tmp_path / "s-01.tar", [("sub/x.json", b"{}"), ("sub/x.PNG", PNG), (".hidden.png", PNG)])
    found = find_images(str(tmp_path / "s-{00..01}.tar"), ["x", "1", "000001.jpg"])
    one, x = found.images[1], found.images[0]
    assert one == ShardPicture(str(tmp_path / "s-00.tar"), 512, len(PNG), "000001.jpg")
    assert (x.name, x.path, found.images[2]) == ("sub/x.PNG", str(tmp_path / "s-01.tar"), one)
    assert (tmp_path / "s-01.tar").read_bytes()[x.offset : x.offset + x.size] == PNG
    assert found.source == "shards"
    assert found.report.startswith(f"3 of 3 images found in {tmp_path}/s-{{00..01}}.tar (ids matched ")
    assert len(ShardIndex(tmp_path / "s-00.tar")) == 1


@pytest.mark.parametrize("form", [{"format": 0}, {"format": 1}, {"format": 2}], ids=["ustar", "gnu", "pax"])
def test_long_and_foreign_names_in_shards(tmp_path, form, monkeypatch):
    """Whatever the locale says of file names."""
    monkeypatch.setattr(tarfile.TarFile, "encoding", "ascii")
    name = f"{'d' * 90}/{'ö' * 40}.png" if form["format"] else f"{'d' * 90}/{'o' * 80}.png"
    write_tar(tmp_path / "s.tar", [("a.txt", b"x" * 700), (name, PNG), ("b.png", PNG)], **form)
    index = ShardIndex(tmp_path / "s.tar")
    assert index.names == [name[91:-4], "b"]
    for picture in index.pictures.values():
        assert prepare(picture, Preprocessing(size=8)).shape == (8, 8, 3)


def test_shards_that_cannot_be_used(tmp_path):
    def refused(message, source="s.tar"):
        with pytest.raises(InputError, match=message):
            ShardIndex(tmp_path / source)

    refused(r"^the shard .*s\.tar cannot be read: there is no such file$")
    write_tar(tmp_path / "s.tar", [("a.jpg", PNG), ("sub/a.png", PNG)])
    refused(r"^a\.jpg in .* and sub/a\.png in .* have the same key a; keys must differ across shards and folders$")
    write_tar(tmp_path / "s.tar", [("a.txt", b"x"), ("a.json", b"{}"), ("b.mask.png", PNG)])
    refused(r"has no pictures \(avif, bmp, .*\); members end in \.txt, \.json, \.mask\.png$")
    whole = write_tar(tmp_path / "s.tar", [("a.jpg", PNG), ("b.jpg", PNG)]).read_bytes()
    (tmp_path / "s.tar").write_bytes(gzip.compress(whole))
    refused(r"s\.tar is compressed, and pictures are read from their places in a tar; unpack it first$")
    (tmp_path / "s.tar.gz").write_bytes(gzip.compress(whole))
    refused(r"s\.tar\.gz is compressed, .* unpack it first$", "s.tar.gz")
    with pytest.raises(InputError, match="unpack it first"):
        find_images(tmp_path / "s.tar.gz", ["a"])
    (tmp_path / "s.tar").write_bytes(b"<html>" + b" " * 2000)
    refused(r"s\.tar \(2,006 bytes\) is no whole tar file: .*; write or copy it again$")
    (tmp_path / "s.tar").write_bytes(whole[:700])
    refused(r"\(700 bytes\) is no whole tar file: unexpected end of data")
    second = 512 + -(-len(PNG) // 512) * 512
    (tmp_path / "s.tar").write_bytes(whole[:second] + b"?" * 512 + whole[second + 512 :])
    refused(f"is no whole tar file: no header at byte {second:,}")
    (tmp_path / "s.tar").write_bytes(whole[:second])
    assert ShardIndex(tmp_path / "s.tar").names == ["a"]


def test_scenes():
    found = find_images("scenes", ["scenes-test-000007", "scenes-train-000001-s3", "scenes-val-000002.png"])
    assert (found.source, found.report) == ("scenes", "3 of 3 images drawn from scenes (ids matched exactly)")
    assert found.images[0].open().size == (64, 64)
    numbered = find_images("scenes:test", ["7", "000007", "scenes-val-000002"])
    assert [x.key for x in numbered.images[:2]] == [found.images[0].key] * 2
    assert numbered.images[2].key == found.images[2].key
    seeded = find_images("scenes:train:3", ["1"])
    assert seeded.images[0].key == found.images[1].key
    assert find_images("scenes:train:0", ["1"]).images[0].key == find_images("scenes:train", ["1"]).images[0].key


@pytest.mark.parametrize(
    "source, keys, message",
    [
        (
            "scenes",
            ["7"],
            'the id "7" is a plain number, which needs the split it counts into: write --images scenes:test',
        ),
        ("scenes:dev", ["7"], "write scenes, scenes:SPLIT or scenes:SPLIT:SEED"),
        ("scenes:test:x", ["7"], "write scenes, scenes:SPLIT or scenes:SPLIT:SEED"),
        ("scenes:", ["7"], "write scenes, scenes:SPLIT or scenes:SPLIT:SEED"),
        (
            "scenes:test",
            ["a", "b"],
            'none of the 2 images is in scenes:test: the first id is "a", the first name there "sce',
        ),
    ],
)
def test_scenes_that_are_none(source, keys, message):
    with pytest.raises(InputError, match=message):
        find_images(source, keys)


def test_features_in_place_of_pictures(tmp_path):
    store = pytest.importorskip("capreward.encoders.store.feature_store")
    writer = pytest.importorskip("capreward.encoders.store.writer")
    header = pytest.importorskip("capreward.encoders.store.header")
    made = header.StoreHeader("image", {"model": "tiny", "sha": "0" * 12}, (3,))
    writer.StoreWriter(tmp_path / "store", made).write(["000042", "b"], torch.arange(6.0).view(2, 3))
    found = find_images(tmp_path / "store", ["b", "COCO_val2014_000000000042.jpg"])
    assert isinstance(found.images[0], store.StoredFeature)
    assert [x.feature().tolist() for x in found.images] == [[3, 4, 5], [0, 1, 2]]
    assert found.source == "features"


def test_real_photos_are_found_by_every_name(shared_data):
    folder = shared_data / "coco_photos" / "images"
    listed = json.loads((shared_data / "coco_photos" / "captions.json").read_text())
    expected = [str(folder / entry["file"]) for entry in listed]
    for keys in ([str(e["image_id"]) for e in listed], [f"COCO_val2014_{e['image_id']:012}.jpg" for e in listed],
                 [e["file"] for e in listed]):  # fmt: skip
        found = find_images(folder, keys)
        assert [str(x) for x in found.images] == expected
    assert found.report == f"{len(listed)} of {len(listed)} images found in {folder} (ids matched exactly)"


def test_the_examples_of_the_original_repositories(shared_data):
    for name in ("clipscore_example", "pacscore_example"):
        folder = shared_data / "photos_examples" / name
        table = read_captions(folder / "good_captions.json")
        found = find_images(folder / "images", table.keys, aliases=table.aliases)
        stems = [os.path.splitext(os.path.basename(str(picture)))[0] for picture in found.images]
        assert stems == table.keys


def test_real_shards(shared_data):
    tar = shared_data / "flickr8k" / "photos_112" / "test.tar"
    found = find_images(tar, ["1056338697_4f7d7ce270.jpg", "106490881_5a2dd9b7bd"])
    assert found.report == f"2 of 2 images found in {tar} (ids matched 1 exactly, 1 as file names)"
    assert prepare(found.images[0], Preprocessing(size=112)).std() > 10
    assert len(ShardIndex(tar)) == 1000
