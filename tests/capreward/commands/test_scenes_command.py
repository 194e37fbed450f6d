"""capreward scenes: the files it writes and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from capreward import InputError
from capreward.commands.scenes import scenes as command
from capreward.data import read_references
from capreward.data.scenes import scene


def run(*arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)


def test_pictures_and_captions(tmp_path):
    from PIL import Image

    found = run(tmp_path / "out", "--split", "val", "--count", 3, "--start", 5, "--seed", 2)
    assert found.exit_code == 0
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    keys = [scene("val", i, 2).key for i in (5, 6, 7)]
    assert names == ["captions.json", *(f"{key}.png" for key in keys)]
    for i, key in enumerate(keys):
        with Image.open(tmp_path / "out" / f"{key}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), scene("val", 5 + i, 2).draw())
    written = json.loads((tmp_path / "out" / "captions.json").read_text())
    assert written == {key: list(scene("val", 5 + i, 2).captions) for i, key in enumerate(keys)}
    assert "3 pictures of scenes (val, seed 2)" in found.stderr


def test_captions_can_be_read_as_references(tmp_path):
    run(tmp_path / "out", "--count", 2, "--captions", tmp_path / "refs.json")
    references = read_references(tmp_path / "refs.json")
    assert references.references["scenes-test-000001"] == list(scene("test", 1).captions)
    assert not (tmp_path / "out" / "captions.json").exists()


def test_the_contact_sheet_shows_the_pictures(tmp_path):
    from PIL import Image

    run(tmp_path / "out", "--count", 9, "--contact-sheet", tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        sheet = np.asarray(image)
    assert sheet.shape[1] == 16 + 4 * (192 + 16)
    first = sheet[16 : 16 + 192, 16 : 16 + 192]
    np.testing.assert_array_equal(first[1::3, 1::3], scene("test", 0).draw())
    last = sheet[16 : 16 + 192, 16 + 3 * 208 :][:, :192]
    np.testing.assert_array_equal(last[1::3, 1::3], scene("test", 3).draw())
    assert (sheet[212:225, 16:208] < 128).any()  # letters
    assert (sheet[:, :14] == 255).all()


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--split", "dev"], "scenes has the splits train, val and test; found 'dev'"),
        (["--contact-sheet", "sheet.jpg"], "--contact-sheet sheet.jpg: the name must end in .png"),
        (["--captions", "nowhere/refs.json"], "--captions nowhere/refs.json: there is no folder nowhere"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(tmp_path, arguments, sentence):
    with pytest.raises(InputError) as error:
        run(tmp_path / "out", *arguments)
    assert str(error.value) == sentence
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(InputError, match="is a file; name a folder for the pictures"):
        run(tmp_path / "out")
