"""The records of options: what a file of both captions and references and a table of pictures make of them."""

from __future__ import annotations

import pytest
from run_helpers import called, refused

from capreward.commands.image_options import ImageOptions, image_column_of_captions

FILE = "image_id,caption,ref,pic\n1,a dog runs,a dog is running,a.png\n2,a cat sits,the cat sits down,b.png\n"


@pytest.fixture
def both(tmp_path):
    path = tmp_path / "both.csv"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    "flags, names",
    (
        (("--format", "csv", "--references-format", "json"), "--format and --references-format say csv and json"),
        (
            ("--id-column", "image_id", "--references-id-column", "pic"),
            "--id-column and --references-id-column say image_id and pic",
        ),
    ),
)
def test_options_of_captions_and_of_references_in_one_file_agree(both, flags, names):
    told = f"Error: captions and references are one file, but {names}; give one\n"
    assert refused("score", both, "-r", both, "-m", "bleu", *flags) == told


@pytest.mark.parametrize("flag", ("--id-column", "--references-id-column"))
def test_one_of_them_stands_for_both(both, flag):
    done = called("score", both, "-r", both, "-m", "bleu", "--resamples", 0, flag, "pic")
    assert done.exit_code == 0, done.output
    assert "id from pic, captions from caption" in done.stderr
    assert "id from pic, references from ref" in done.stderr


def test_a_column_of_pictures_belongs_to_the_table_of_images_where_there_is_one(both, tmp_path):
    def column(*images, named="pic"):
        options = {"images": images, "image_column": named, "images_id_column": None, "skip_broken": False}
        running = {"device": "cpu", "precision": "fp32", "batch_size": None, "workers": None, "download": False}
        return image_column_of_captions(ImageOptions.of({**options, **running, "unknown": 1}))

    assert column() == "pic"
    assert column(str(tmp_path)) == "pic"
    assert column(str(tmp_path), str(both)) is None
    assert column(named=None) is None
