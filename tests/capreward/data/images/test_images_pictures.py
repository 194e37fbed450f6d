"""Pictures wherever they are: the same pixels by every way, one key per picture, small pickles."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import torch
from image_files import encoded, in_mode, noise, smooth, with_orientation, write_tar
from PIL import Image

from capreward.data.images.picture_shards import ShardIndex
from capreward.data.images.picture_types import (
    ArrayPicture,
    BrokenImage,
    BytesPicture,
    FilePicture,
    Picture,
    PilPicture,
    as_picture,
)
from capreward.data.images.preprocessing import prepare
from capreward.encoders.spec import Preprocessing
from capreward.errors import InputError

SMALL = Preprocessing(size=32)


@pytest.mark.parametrize(
    "data",
    [
        encoded(smooth(60, 40), "JPEG"),
        with_orientation(smooth(60, 40), 6, "JPEG"),
        encoded(in_mode("CMYK"), "JPEG"),
        encoded(in_mode("P")),
        encoded(in_mode("LA")),
        encoded(in_mode("I;16")),
    ],
    ids=["jpeg", "turned", "cmyk", "palette", "alpha", "16-bit"],
)
def test_every_way_gives_the_same_pixels(data, tmp_path):
    path = tmp_path / "a.img"
    path.write_bytes(data)
    tar = write_tar(tmp_path / "a.tar", [("x.txt", b"before"), ("a.png", data)])
    expected = prepare(FilePicture(str(path)), SMALL)
    assert len(np.unique(expected)) > 5
    ways = [path, str(path), data, bytearray(data), memoryview(data), Image.open(path), ShardIndex(tar).picture("a")]
    for way in ways:
        picture = as_picture(way)
        assert isinstance(picture, Picture)
        assert np.array_equal(prepare(picture, SMALL), expected)
        assert np.array_equal(prepare(pickle.loads(pickle.dumps(picture)), SMALL), expected)


def test_every_array_gives_the_same_pixels():
    image = smooth(60, 40)
    rows = np.asarray(image)
    channels = np.ascontiguousarray(rows.transpose(2, 0, 1))
    floats = torch.from_numpy(channels).to(torch.float32).div(255)  # what torchvision's ToTensor gives
    expected = prepare(PilPicture(image), SMALL)
    forms = [rows, channels, torch.from_numpy(channels), torch.from_numpy(rows.copy()), floats, floats.numpy()]
    forms += [
        floats.double(),
        floats.numpy().astype(np.float64),
        floats.clone().requires_grad_(),
        rows[:, ::-1][:, ::-1],
    ]
    for form in forms:
        picture = as_picture(form)
        assert np.array_equal(picture.pixels(), rows)
        assert np.array_equal(prepare(picture, SMALL), expected)
        copy = pickle.loads(pickle.dumps(picture))
        assert np.array_equal(prepare(copy, SMALL), expected)
        assert copy.key == ("object", id(copy.source))


def test_half_precision_tensors_are_taken_as_near_as_they_are():
    floats = torch.tensor([0.0, 0.2, 1.0]).view(3, 1, 1).expand(3, 2, 4)
    assert as_picture(floats.half()).pixels()[0, 0].tolist() == [0, 51, 255]
    assert as_picture(floats.bfloat16()).pixels()[1, 3].tolist() == [0, 51, 255]


@pytest.mark.parametrize(
    "image, message",
    [
        (np.zeros((4, 5), np.uint8), r"an array \[4, 5\] of uint8; give uint8 \[H, W, 3\]"),
        (np.zeros((4, 5, 4), np.uint8), r"\[4, 5, 4\] of uint8; give uint8 \[H, W, 3\]"),
        (np.zeros((1, 4, 5), np.uint8), r"\[1, 4, 5\] of uint8; give"),
        (np.zeros((0, 4, 3), np.uint8), r"\[0, 4, 3\] of uint8; give"),
        (np.zeros((4, 5, 3), np.float32), r"\[4, 5, 3\] of float32; give .* or floats \[3, H, W\] in \[0, 1\]"),
        (np.zeros((3, 5, 3), np.uint8), r"either the first or the last axis may be the colours; give a PIL image"),
        (np.zeros((4, 5, 3), np.int64), r"\[4, 5, 3\] of int64; give"),
        (torch.zeros(2, 3, 4, 5), r"\[2, 3, 4, 5\] of float32; give"),
        (torch.full((3, 4, 5), float("nan")), r"float32 with NaN; floats must lie in \[0, 1\]"),
        (torch.full((3, 4, 5), 255.0), r"with values from 255 to 255; floats must lie in \[0, 1\]"),
        (torch.linspace(0, 1.5, 60).view(3, 4, 5), r"with values from 0 to 1.5; floats must lie in \[0, 1\]"),
        (torch.linspace(-1, 1, 60).view(3, 4, 5), r"with values from -1 to 1; floats must lie in \[0, 1\]"),
        ({"path": "a.jpg"}, "^an image is dict; give a path, the bytes of a picture file, a PIL image"),
        (None, "^an image is NoneType; give a path"),
        ("https://example.org/a.jpg", "^the image https://example.org/a.jpg is an address; download it"),
    ],
)
def test_what_is_no_picture_is_refused(image, message):
    with pytest.raises(InputError, match=message):
        as_picture(image)


def test_one_key_per_picture(tmp_path):
    path = tmp_path / "a.png"
    data = encoded(in_mode("RGB"))
    path.write_bytes(data)
    os.symlink(path, tmp_path / "link.png")
    (tmp_path / "sub").mkdir()
    ways = [path, tmp_path / "link.png", tmp_path / "sub" / ".." / "a.png"]
    assert len({as_picture(way).key for way in ways}) == 1
    assert as_picture(data).key == BytesPicture(bytes(data), "named").key
    tar = write_tar(tmp_path / "a.tar", [("a.png", data), ("b.png", data)])
    shards = ShardIndex(tar).pictures
    image, array = in_mode("RGB"), noise(5, 5)
    keys = {as_picture(x).key for x in (path, data, data[:-1], shards["a"], shards["b"], image, image.copy(), array)}
    assert len(keys) == 8
    assert as_picture(image).key == as_picture(image).key
    assert as_picture(array).key == as_picture(array).key


@pytest.mark.parametrize("wrap, make", [(PilPicture, lambda: in_mode("L")), (ArrayPicture, lambda: noise(4, 5))])
def test_identities_are_not_used_again(wrap, make):
    """A freed object's identity goes to the next one; two pictures would then pass for one."""
    pictures = [wrap(make()) for _ in range(50)]
    assert len({picture.key for picture in pictures}) == 50


def test_pickles_are_small(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(in_mode("RGB", 500, 500)))
    tar = write_tar(tmp_path / "a.tar", [("a.png", path.read_bytes())])
    for picture in (FilePicture(str(path)), ShardIndex(tar).picture("a")):
        assert len(pickle.dumps(picture)) < 400
        assert pickle.loads(pickle.dumps(picture)) == picture
    floats = ArrayPicture(torch.rand(3, 40, 50))
    assert len(pickle.dumps(floats)) < 40 * 50 * 3 + 1000


def test_names_for_messages(tmp_path):
    image = in_mode("RGB")
    path = tmp_path / "a.png"
    image.save(path)
    tar = write_tar(tmp_path / "s.tar", [("sub/a.png", path.read_bytes())])
    names = [image, Image.open(path), path, noise(4, 5), b"12345"]
    assert [str(as_picture(x)) for x in names] == [
        "a PIL image RGB 70 x 50",
        str(path),
        str(path),
        "an array [5, 4, 3] of uint8",
        "a picture of 5 bytes",
    ]
    assert str(ShardIndex(tar).picture("a")) == f"sub/a.png in {tar}"


def test_a_lazy_pil_image_of_a_damaged_file_is_broken(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(in_mode("RGB"), "JPEG")[:-700])
    with pytest.raises(BrokenImage, match=rf"^{path} is damaged: image file is truncated"):
        prepare(as_picture(Image.open(path)), SMALL)


def test_shards_that_changed_are_told(tmp_path):
    data = encoded(in_mode("RGB"))
    tar = write_tar(tmp_path / "a.tar", [("a.png", data)])
    picture = ShardIndex(tar).picture("a")
    tar.write_bytes(tar.read_bytes()[:1500])
    with pytest.raises(BrokenImage, match="a.png in .* is cut short: the tar file ends before the picture does"):
        prepare(picture, SMALL)
    tar.unlink()
    with pytest.raises(BrokenImage, match=r"a\.png in .*a\.tar does not exist$"):
        prepare(picture, SMALL)
