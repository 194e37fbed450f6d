"""The steps from a PIL image to an encoder's input, against torchvision's and transformers' to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from image_files import MODES, in_mode, noise, smooth
from PIL import Image

from capreward.data.images.picture_types import FilePicture
from capreward.data.images.preprocessing import crop, normalise, prepare
from capreward.encoders.spec import STATISTICS, Preprocessing
from capreward.errors import InputError

SIZES = [(224, 224), (300, 200), (200, 300), (225, 224), (500, 333), (37, 61), (61, 37), (640, 427), (1, 1), (3, 50)]
SIZES += [(223, 449), (1000, 225), (225, 1000), (224, 1001), (100, 99)]
ORIGINAL = Preprocessing(decode="original")


def torchvision_crop(image, preprocessing):
    """The originals' transform, up to the conversion to RGB."""
    transforms = pytest.importorskip("torchvision").transforms
    size = preprocessing.size
    mode = {"bicubic": transforms.InterpolationMode.BICUBIC, "bilinear": transforms.InterpolationMode.BILINEAR}
    mode = mode[preprocessing.interpolation]
    if preprocessing.resize == "squash":
        return transforms.Resize((size, size), interpolation=mode)(image).convert("RGB")
    return transforms.CenterCrop(size)(transforms.Resize(size, interpolation=mode)(image)).convert("RGB")


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("side", [224, 33, 64])
def test_every_shape_is_bit_equal_to_torchvision(size, side):
    image, preprocessing = Image.fromarray(noise(*size)), Preprocessing(size=side)
    expected = np.asarray(torchvision_crop(image, preprocessing))
    found = crop(image, preprocessing)
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("side", [224, 32])
def test_every_mode_is_bit_equal_to_torchvision(mode, side):
    image, preprocessing = in_mode(mode), Preprocessing(size=side)
    assert image.mode == mode
    assert np.array_equal(crop(image, preprocessing), np.asarray(torchvision_crop(image, preprocessing)))


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(size=64, resize="squash"),
        Preprocessing(size=64, interpolation="bilinear"),
        Preprocessing(size=64, resize="squash", interpolation="bilinear"),
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [(300, 200), (31, 90)], ids=str)
def test_other_ways_to_resize_are_bit_equal_to_torchvision(preprocessing, size):
    image = Image.fromarray(noise(*size))
    assert np.array_equal(crop(image, preprocessing), np.asarray(torchvision_crop(image, preprocessing)))


def test_real_photos_are_bit_equal_to_torchvision(shared_data):
    tensors = pytest.importorskip("torchvision").transforms
    paths = sorted((shared_data / "coco_photos" / "images").glob("*.jpg"))[::6]
    assert len(paths) > 10
    mean, std = STATISTICS["openai"]
    for path in paths:
        picture = torchvision_crop(Image.open(path), ORIGINAL)
        found = prepare(FilePicture(str(path)), ORIGINAL)
        assert np.array_equal(found, np.asarray(picture))
        expected = tensors.Normalize(mean, std)(tensors.ToTensor()(picture))
        assert torch.equal(normalise(torch.from_numpy(found)[None], ORIGINAL)[0], expected)


def transformers_processor(side):
    """transformers' image processor in PIL, the pixels alone: its slow one, by the name of the version that is here."""
    transformers = pytest.importorskip("transformers")
    try:
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil as Processor
    except ImportError:
        Processor = transformers.CLIPImageProcessor
    sizes = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    return Processor(**sizes, do_rescale=False, do_normalize=False)


def transformers_crop(image, side):
    # Its versions 4 take a picture of one pixel for one channel, if they are not told.
    told = {"input_data_format": "channels_last"}
    found = np.asarray(transformers_processor(side)(image, **told)["pixel_values"][0])
    assert found.min() >= 0
    return found.transpose(1, 2, 0).astype(np.uint8)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("side", [224, 33])
def test_every_shape_is_bit_equal_to_transformers(size, side):
    image, preprocessing = Image.fromarray(noise(*size)), Preprocessing(size=side, cropping="transformers")
    assert np.array_equal(crop(image, preprocessing), transformers_crop(image, side))


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK"])
def test_every_mode_is_bit_equal_to_transformers(mode):
    """RGB comes first, which of alpha drops it; transformers 5 lays it on white, and the one that DiCO used did not."""
    image = in_mode(mode)
    steps = Preprocessing(size=32, cropping="transformers")
    expected = transformers_crop(image.convert("RGB"), 32)
    assert np.array_equal(crop(image, steps), expected)
    if "A" not in mode:
        assert np.array_equal(transformers_crop(image, 32), expected)


def test_real_photos_are_bit_equal_to_transformers(shared_data):
    paths = sorted((shared_data / "coco_photos" / "images").glob("*.jpg"))[::6]
    steps = Preprocessing(decode="original", cropping="transformers")
    apart = 0
    for path in paths:
        found = prepare(FilePicture(str(path)), steps)
        assert np.array_equal(found, transformers_crop(Image.open(path), 224))
        apart += not np.array_equal(found, prepare(FilePicture(str(path)), ORIGINAL))
    assert 0 < apart < len(paths)


@pytest.mark.parametrize(("margin", "even", "floor"), [(1, 0, 0), (2, 1, 1), (3, 2, 1), (5, 2, 2), (7, 4, 3)])
@pytest.mark.parametrize("upright", [True, False])
def test_an_odd_margin_by_hand(margin, even, floor, upright):
    """Half a pixel of margin goes to the even offset or is dropped; nothing is resized, so levels tell the offset."""
    levels = np.arange(8 + margin, dtype=np.uint8)[None, :, None].repeat(8, axis=0).repeat(3, axis=2)
    image = Image.fromarray(levels.transpose(1, 0, 2) if upright else levels)
    for cropping, first in (("torchvision", even), ("transformers", floor)):
        found = crop(image, Preprocessing(size=8, cropping=cropping))
        assert found[0, 0].tolist() == [first] * 3
        assert found[-1, -1].tolist() == [first + 7] * 3


def test_the_cropping_stands_in_what_is_told_unless_it_is_the_usual_one():
    assert str(Preprocessing()) == "224-shortest-bicubic-openai-careful"
    assert str(Preprocessing(cropping="transformers")) == "224-shortest-bicubic-openai-careful-transformers"


@pytest.mark.parametrize("statistics", list(STATISTICS))
def test_every_level_is_normalised_as_torchvision_does(statistics):
    transforms = pytest.importorskip("torchvision").transforms
    mean, std = STATISTICS[statistics]
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    expected = transforms.Normalize(mean, std)(transforms.ToTensor()(Image.fromarray(levels)))
    found = normalise(torch.from_numpy(levels)[None], Preprocessing(size=16, mean=mean, std=std))
    assert found.is_contiguous()
    assert found.dtype == torch.float32
    assert torch.equal(found[0], expected)


def test_normalisation_by_hand():
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 1, 3)
    half = Preprocessing(size=1, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert normalise(pixels, half).flatten().tolist() == pytest.approx([-1.0, -0.6, 1.0], abs=1e-6)
    assert pixels.flatten().tolist() == [0, 51, 255]


def test_the_centre_is_cut_out():
    """Three squares side by side: the middle one remains."""
    image = Image.new("RGB", (96, 32), (255, 0, 0))
    image.paste((0, 255, 0), (32, 0, 64, 32))
    image.paste((0, 0, 255), (64, 0, 96, 32))
    middle = crop(image, Preprocessing(size=32))
    assert np.unique(middle.reshape(-1, 3), axis=0).tolist() == [[0, 255, 0]]
    assert np.array_equal(crop(image.transpose(Image.Transpose.ROTATE_90), Preprocessing(size=32)), middle)
    squashed = crop(image, Preprocessing(size=32, resize="squash"))
    assert squashed[16, 2].tolist() == [255, 0, 0]
    assert squashed[16, 29].tolist() == [0, 0, 255]


def test_a_palette_is_resized_by_nearest_neighbour():
    """Converting first would mix the colours; the originals do not, so that no new colour appears."""
    palette = smooth(300, 200).quantize(7)
    known = set(map(tuple, np.asarray(palette.convert("RGB")).reshape(-1, 3).tolist()))
    found = set(map(tuple, crop(palette, Preprocessing(size=100)).reshape(-1, 3).tolist()))
    assert found <= known
    mixed = crop(palette.convert("RGB"), Preprocessing(size=100))
    assert set(map(tuple, mixed.reshape(-1, 3).tolist())) - known


@pytest.mark.parametrize("size", [(1, 500), (500, 1), (3, 1201), (1202, 3), (20, 7001)], ids=str)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
def test_strips_give_the_same_with_and_without_the_rest_of_the_strip(size, mode, monkeypatch):
    image = Image.fromarray(noise(*size, 4), "RGBA") if mode == "RGBA" else Image.fromarray(noise(*size)).convert(mode)
    preprocessing = Preprocessing(size=96)
    whole = crop(image, preprocessing).astype(int)
    monkeypatch.setattr("capreward.data.images.preprocessing.LARGEST", 0)
    alone = crop(image, preprocessing).astype(int)
    assert np.abs(whole - alone).max() <= 1
    assert (whole != alone).mean() < 1e-3
    assert len(np.unique(whole)) > 2


def test_a_strip_that_would_become_a_gigabyte(monkeypatch):
    """Resized in full it would have 224 x 1,120,000 pixels; a smooth strip shows its middle."""
    made, resize = [], Image.Image.resize

    def watched(image, size, *arguments, **options):
        made.append(size)
        return resize(image, size, *arguments, **options)

    monkeypatch.setattr(Image.Image, "resize", watched)
    levels = np.arange(5000) // 20
    strip = Image.fromarray(levels.astype(np.uint8)[:, None].repeat(3, axis=1).reshape(5000, 1, 3))
    found = crop(strip, Preprocessing())
    assert made == [(224, 224)]
    assert set(np.unique(found)) == {124, 125}
    assert (found[0] == 124).all()
    assert (found[-1] == 125).all()


@pytest.mark.parametrize("wrong", [{"resize": "longest"}, {"interpolation": "cubic"}, {"cropping": "floor"}], ids=str)
def test_unknown_ways_are_refused(wrong):
    with pytest.raises(InputError, match="must be"):
        crop(in_mode("RGB"), Preprocessing(**wrong))
