"""Pictures in formats that only some builds of Pillow read: AVIF and JPEG 2000."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from image_files import encoded, smooth, write_tar
from PIL import Image, features

from capreward.data.images.encoded_image import BrokenImage, open_encoded
from capreward.data.images.picture_lookup import find_images
from capreward.data.images.picture_types import FilePicture
from capreward.data.images.preprocessing import prepare
from capreward.encoders.spec import Preprocessing

SMALL = Preprocessing(size=32)
AVIF_HEAD = b"\0\0\0\x1cftypavif" + bytes(200)
JP2_HEAD = b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(200)


def there(feature):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return features.check(feature)


KINDS = [
    pytest.param(
        "AVIF", "avif", {"quality": 90}, 6, marks=pytest.mark.skipif(not there("avif"), reason="no AVIF here")
    ),
    pytest.param("JPEG2000", "jp2", {}, 0, marks=pytest.mark.skipif(not there("jpg_2000"), reason="no OpenJPEG here")),
    pytest.param(
        "JPEG2000", "j2k", {"no_jp2": True}, 0, marks=pytest.mark.skipif(not there("jpg_2000"), reason="none")
    ),
]


@pytest.mark.parametrize(("kind", "ending", "options", "apart"), KINDS)
def test_they_are_found_and_read_everywhere(tmp_path, kind, ending, options, apart):
    """In a folder, in shards and by their path; JPEG 2000 without loss to the bit, AVIF within its loss."""
    image = smooth(90, 60)
    data = encoded(image, kind, **options)
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / f"a.{ending.upper()}").write_bytes(data)
    tar = write_tar(tmp_path / "a.tar", [(f"a.{ending}", data), ("a.txt", b"a dog")])
    path = tmp_path / "p" / f"a.{ending.upper()}"
    expected = prepare(FilePicture(str(path)), SMALL).astype(int)
    wanted = np.asarray(image.resize((48, 32), Image.Resampling.BICUBIC).crop((8, 0, 40, 32))).astype(int)
    assert np.abs(expected - wanted).max() <= apart
    for source, key in ((tmp_path / "p", "a"), (tar, "a"), (None, str(path))):
        found = find_images(source, [key])
        assert np.array_equal(prepare(found.images[0], SMALL), expected)


@pytest.mark.parametrize(
    ("head", "feature", "told"),
    [
        (AVIF_HEAD, "avif", "an AVIF picture, which the Pillow here .* does not read; type pip install 'pillow>=11.3'"),
        (JP2_HEAD, "jpg_2000", "a JPEG 2000 picture, which the Pillow here .* install a Pillow .* OpenJPEG, or save"),
        (b"\xff\x4f\xff\x51" + bytes(200), "jpg_2000", "a JPEG 2000 picture, which the Pillow here"),
    ],
)
def test_one_that_pillow_lacks_is_named_with_what_to_do(head, feature, told, monkeypatch):
    real = features.check
    monkeypatch.setattr(features, "check", lambda name: name != feature and real(name))
    with pytest.raises(BrokenImage, match=f"^x is {told}"):
        open_encoded(io.BytesIO(head), "x")


@pytest.mark.skipif(not (there("avif") and there("jpg_2000")), reason="this Pillow lacks one")
@pytest.mark.parametrize("head", [AVIF_HEAD, JP2_HEAD])
def test_a_damaged_one_is_not_said_to_lack_a_reader(head):
    with pytest.raises(BrokenImage) as told:
        open_encoded(io.BytesIO(head), "x")
    assert "does not read" not in str(told.value)


def test_heif_is_named():
    with pytest.raises(BrokenImage, match="x is a HEIF picture, which PIL does not read; save it as JPEG or PNG"):
        open_encoded(io.BytesIO(b"\0\0\0\x18ftypheic" + bytes(200)), "x")


def test_a_decoder_that_is_missing_is_no_damage(monkeypatch):
    """Pillow opens JPEG 2000 without OpenJPEG and fails only when the pixels are wanted."""

    def without(*_):
        raise OSError("decoder jpeg2k not available")

    monkeypatch.setattr(features, "check", lambda name: False)
    monkeypatch.setattr(Image, "open", without)
    with pytest.raises(BrokenImage, match="x is a JPEG 2000 picture, which the Pillow here"):
        open_encoded(io.BytesIO(JP2_HEAD), "x")
