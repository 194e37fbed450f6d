"""Decoding: what is put right before the originals' steps, what is left alone, and what is refused."""

from __future__ import annotations

import io
import pickle
import re
import struct
import warnings
import zlib

import numpy as np
import pytest
from image_files import TURNED, encoded, in_mode, noise, smooth, with_orientation
from PIL import Image, ImageOps

from capreward.data.images.decoding import decode
from capreward.data.images.picture_types import BrokenImage, BytesPicture, FilePicture, PilPicture, as_picture
from capreward.data.images.preprocessing import prepare
from capreward.encoders.spec import Preprocessing
from capreward.errors import InputError

CAREFUL = Preprocessing(size=32)
ORIGINAL = Preprocessing(size=32, decode="original")


def careful(picture):
    return np.asarray(decode(as_picture(picture), CAREFUL))


@pytest.mark.parametrize("kind, options", [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
@pytest.mark.parametrize("orientation", list(TURNED))
def test_pictures_are_turned_upright(orientation, kind, options):
    upright = smooth(40, 24)
    turn = TURNED[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    data = with_orientation(stored, orientation, kind, **options)
    assert np.array_equal(careful(data), np.asarray(upright))
    assert np.array_equal(careful(Image.open(io.BytesIO(data))), np.asarray(upright))
    assert np.array_equal(careful(pickle.loads(pickle.dumps(PilPicture(Image.open(io.BytesIO(data)))))), upright)
    if kind != "TIFF":  # PIL itself turns TIFF files
        assert np.array_equal(np.asarray(decode(BytesPicture(data), ORIGINAL)), np.asarray(stored))


@pytest.mark.parametrize("orientation", list(TURNED))
def test_jpegs_are_turned_upright(orientation):
    upright = smooth(48, 32)
    turn = TURNED[orientation]
    stored = upright if turn is None else upright.transpose(turn)
    data = with_orientation(stored, orientation, "JPEG", quality=100, subsampling=0)
    assert np.array_equal(careful(data), np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))
    assert np.abs(careful(data).astype(int) - np.asarray(upright)).max() <= 4


@pytest.mark.parametrize("value", [0, 9, 77])
def test_an_unknown_orientation_changes_nothing(value):
    assert np.array_equal(careful(with_orientation(smooth(40, 24), value, "PNG")), np.asarray(smooth(40, 24)))


def test_a_malformed_exif_block_changes_nothing():
    image = smooth(40, 24)
    for block in (b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01"):
        data = encoded(image, "JPEG", exif=block)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = prepare(BytesPicture(data), CAREFUL)
        assert np.array_equal(found, prepare(BytesPicture(encoded(image, "JPEG")), CAREFUL))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_become_8(kind):
    values = np.array([[0, 128, 129, 257], [385, 386, 65535, 32768]], dtype=np.uint16)
    data = encoded(Image.fromarray(values), kind)
    assert careful(data).tolist() == [[0, 0, 1, 1], [1, 2, 255, 128]]
    assert decode(BytesPicture(data), ORIGINAL).mode == "I;16"


def test_a_16_bit_picture_is_not_white():
    """What PIL alone makes of it: everything above 255 is clipped."""
    values = np.full((40, 40), 10_000, dtype=np.uint16)
    data = encoded(Image.fromarray(values), "PNG")
    assert np.unique(prepare(BytesPicture(data), CAREFUL)).tolist() == [39]
    assert np.unique(prepare(BytesPicture(data), ORIGINAL)).tolist() == [255]


def test_big_endian_16_bits():
    values = np.array([[0, 257], [514, 65535]], dtype=">u2")
    image = Image.frombytes("I;16B", (2, 2), values.tobytes())
    assert careful(image).tolist() == [[0, 1], [2, 255]]


@pytest.mark.parametrize(
    "values, expected",
    [
        ([[0, 65535], [257, 128]], [[0, 255], [1, 0]]),
        ([[257, 65535], [257, 514]], [[1, 255], [1, 2]]),
        ([[257, 65536], [257, 514]], [[0, 255], [0, 1]]),
        ([[-100, 0], [100, 155]], [[0, 100], [200, 255]]),
        ([[0, 510_000], [255_000, 0]], [[0, 255], [128, 0]]),
        ([[100_000, 100_000], [100_000, 100_000]], [[0, 0], [0, 0]]),
    ],
)
def test_whole_numbers_become_8_bits(values, expected):
    assert careful(Image.fromarray(np.array(values, dtype=np.int32))).tolist() == expected


@pytest.mark.parametrize(
    "values, expected",
    [
        ([[0.0, 1.0], [0.5, 0.2]], [[0, 255], [128, 51]]),
        ([[0.0, 255.0], [99.6, 2.0]], [[0, 255], [100, 2]]),
        ([[-1.0, 1.0], [0.0, 0.6]], [[0, 255], [128, 204]]),
        ([[0.0, 1020.0], [4.0, 40.0]], [[0, 255], [1, 10]]),
    ],
)
def test_floats_become_8_bits(values, expected):
    data = encoded(Image.fromarray(np.array(values, dtype=np.float32)), "TIFF")
    assert careful(data).tolist() == expected


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_floats_that_are_no_numbers_are_refused(value):
    data = encoded(Image.fromarray(np.array([[0, value]], dtype=np.float32)), "TIFF")
    with pytest.raises(BrokenImage, match="^x.tif holds floats that are NaN or infinite$"):
        decode(BytesPicture(data, "x.tif"), CAREFUL)


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA"])
def test_8_bit_modes_are_left_alone(mode):
    image = in_mode(mode)
    assert decode(BytesPicture(encoded(image)), CAREFUL).mode == mode
    assert np.array_equal(prepare(BytesPicture(encoded(image)), CAREFUL), prepare(PilPicture(image), ORIGINAL))


def test_cmyk_jpegs_come_out_in_their_colours():
    image = smooth(64, 64).convert("CMYK")
    data = encoded(image, "JPEG", quality=100, subsampling=0)
    assert decode(BytesPicture(data), CAREFUL).mode == "CMYK"
    found = prepare(BytesPicture(data), Preprocessing(size=64)).astype(int)
    assert np.abs(found - np.asarray(smooth(64, 64))).max() <= 8


def test_alpha_is_dropped_as_the_originals_drop_it():
    """What is under full transparency shows; PIL resizes premultiplied, so that it is black once resized."""
    image = Image.new("RGBA", (64, 64), (200, 100, 50, 0))
    assert np.unique(prepare(PilPicture(image), CAREFUL)).tolist() == [0]
    same_size = prepare(PilPicture(image), Preprocessing(size=64))
    assert np.unique(same_size.reshape(-1, 3), axis=0).tolist() == [[200, 100, 50]]


def test_a_palette_with_transparency_does_not_warn():
    image = smooth(64, 48).quantize(16)
    data = encoded(image, "PNG", transparency=bytes(range(0, 160, 10)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = prepare(BytesPicture(data), CAREFUL)
    assert np.array_equal(found, prepare(PilPicture(image), CAREFUL))


@pytest.mark.parametrize(
    "kind, options",
    [
        ("GIF", {}),
        ("WEBP", {"lossless": True}),
        ("PNG", {}),
        ("TIFF", {}),
        ("MPO", {"quality": 95}),
    ],
)
def test_the_first_frame_counts(kind, options):
    frames = [Image.new("RGB", (64, 64), colour) for colour in ((255, 0, 0), (0, 255, 0))]  # of three, Pillow
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)  # 11.2 writes a broken MPO
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 2
    found = prepare(BytesPicture(data), CAREFUL)
    assert found.reshape(-1, 3).min(axis=0)[0] >= 253
    assert found.reshape(-1, 3).max(axis=0)[1:].max() <= 2


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1), (1, 300), (300, 1)], ids=str)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_tiny_pictures(size, kind):
    found = prepare(BytesPicture(encoded(Image.new("RGB", size, (255, 255, 255)), kind)), CAREFUL)
    assert found.shape == (32, 32, 3)
    assert found.min() >= 254


def jpeg():
    return encoded(Image.fromarray(noise(64, 64)), "JPEG")


def bomb():
    """A PNG that says it has 20,000 x 20,000 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("data, message", [
    (b"", "x is empty (0 bytes)"),
    (b"\0" * 4096, "x is filled with zero bytes; copy or download it again"),
    (b"\n<!DOCTYPE html><html>", "x is an HTML page saved under a picture's name; download it again"),
    (b"<HTML><body>404</body>", "x is an HTML page saved under a picture's name; download it again"),
    (b'{"error": "gone"}', "x is a JSON text, not a picture"),
    (b"version https://git-lfs.github.com/spec/v1\n", "x is a Git LFS pointer; fetch the picture with git lfs pull"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "x is an SVG drawing, which PIL does not read; save it as PNG"),
    (b"%PDF-1.4", "x is a PDF document"),
    (b"hello, world", "x is no picture that PIL can read (its first bytes are 68 65 6c 6c 6f 2c 20 77)"),
    (b"\xff\xd8\xff", "x is damaged: it begins as a JPEG picture and does not go on as one"),
    (jpeg()[:-800], "x is damaged: image file is truncated (N bytes not processed)"),
    (encoded(in_mode("RGB"))[:400], "x is damaged: image file is truncated"),
    (bomb(), "x is refused as too large: image size (400000000 pixels) exceeds limit of 178956970 pixels, could be "
             "decompression bomb DOS attack"),
])  # fmt: skip
def test_what_is_broken_is_told_in_one_sentence(data, message):
    with pytest.raises(BrokenImage) as told:
        prepare(BytesPicture(data, "x"), CAREFUL)
    assert re.sub(r"\(\d+ bytes not", "(N bytes not", str(told.value)) == message
    assert isinstance(told.value, InputError)
    assert str(pickle.loads(pickle.dumps(told.value))) == str(told.value)


def test_every_cut_of_a_picture_is_broken_or_decodes():
    """A truncated file never shows up as another error, whatever the format."""
    outcomes = set()
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"):
        data = encoded(in_mode("RGB"), kind)
        for end in range(0, len(data), max(len(data) // 60, 1)):
            try:
                outcomes.add(prepare(BytesPicture(data[:end], "x"), CAREFUL).shape)
            except BrokenImage as error:
                outcomes.add("two lines" if "\n" in str(error) else "broken")
    assert outcomes <= {"broken", (32, 32, 3)}
    assert "broken" in outcomes


def test_damaged_bytes_are_broken_or_decode():
    rng = np.random.default_rng(3)
    outcomes = []
    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"):
        data = np.frombuffer(encoded(in_mode("RGB"), kind), dtype=np.uint8)
        for _ in range(60):
            hurt = data.copy()
            hurt[rng.integers(0, len(hurt), 8)] = rng.integers(0, 256, 8)
            try:
                outcomes.append(prepare(BytesPicture(hurt.tobytes(), "x"), CAREFUL).shape == (32, 32, 3))
            except BrokenImage as error:
                outcomes.append(str(error).startswith("x is "))
    assert all(outcomes)


def test_files_that_cannot_be_opened(tmp_path):
    with pytest.raises(BrokenImage, match=r"gone\.jpg does not exist$"):
        prepare(FilePicture(str(tmp_path / "gone.jpg")), CAREFUL)
    with pytest.raises(BrokenImage, match="is a folder, not a picture$"):
        prepare(FilePicture(str(tmp_path)), CAREFUL)
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokenImage, match="cannot be read: Not a directory$"):
        prepare(FilePicture(str(tmp_path / "file" / "x.jpg")), CAREFUL)


def test_a_picture_without_pixels_is_broken():
    with pytest.raises(BrokenImage, match=r"has no pixels \(0 x 5\)$"):
        prepare(PilPicture(Image.new("RGB", (0, 5))), CAREFUL)


class Stumbling:
    key = 1

    def open(self):
        raise KeyError("frame 7")

    def __str__(self):
        return "my picture"


def test_an_error_in_somebodys_own_picture_is_told():
    with pytest.raises(BrokenImage, match="^my picture cannot be decoded: 'frame 7'$"):
        prepare(Stumbling(), CAREFUL)


@pytest.mark.parametrize("size", [(7000, 7143), (9000, 10500)], ids=["50-megapixels", "above-the-warning"])
def test_large_pictures(size):
    data = encoded(Image.new("RGB", size, (10, 200, 90)), "JPEG")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = prepare(BytesPicture(data), CAREFUL)
    assert np.abs(found.astype(int) - (10, 200, 90)).max() <= 2
