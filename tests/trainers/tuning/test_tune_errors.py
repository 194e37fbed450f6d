"""What cannot be tuned is told in a sentence, with status 2."""

from __future__ import annotations

import pytest
from train_helpers import fields
from tune_helpers import tune

from capreward.data.scenes import scene


@pytest.fixture
def captions(tmp_path):
    path = tmp_path / "captions.txt"
    path.write_text("\n".join(scene("train", i).captions[0] for i in range(5)) + "\n")
    return str(path)


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (["--recipe", "grammr"], "there is no recipe 'grammr'; did you mean grammar"),
        (["--base", "nothing-here"], "there is no weights file or folder nothing-here"),
        (["--set", "objective.name=grammer"], "unknown objective 'grammer'; did you mean grammar?"),
        (fields("objective", leest=2), "the objective grammar has no option 'leest'; did you mean least?"),
        (["--set", "objective.name=3"], "objective.name is missing; give --set objective.name=grammar"),
        (["--set", "lr=1"], "unknown setting lr; did you mean training.lr?"),
        (["--precision", "fp16"], "precision='fp16' is none of fp32, bf16"),
        (fields("training", decay="all"), "decay='all' is none of matrices, published"),
        (fields("training", chunk=0), "chunk must be a whole number, at least 1; found 0"),
        (["--best", "acuracy"], "evaluation.best is 'acuracy', which is none of the figures; did you mean accuracy?"),
        (["--data", "https://x/a-{000..001}.tar", "--count", "1"], "knows no count"),
        ([*fields("objective", least=1000)], "objective.least is 1000, try --set objective.least=1"),
        ([*fields("objective", joint_out=True), "--images", "none"], "the objective grammar needs images"),
        (["--steps", "3", "--epochs", "1"], "give either --steps or --epochs"),
    ],
)
def test_settings(tmp_path, extra, told):
    found = tune(tmp_path, *extra, status=2)
    assert told in found
    assert "Traceback" not in found


def test_no_images_where_they_are_needed(tmp_path, captions):
    extra = ["--data", captions, "--val", captions, "--set", "objective.name=pac"]
    found = tune(tmp_path, *extra, config={"training": {"steps": 1, "batch_size": 2}}, status=2)
    assert "the objective pac needs images, and" in found
    assert "give --images" in found


def test_captions_that_are_all_too_short(tmp_path):
    path = tmp_path / "short.txt"
    path.write_text("boat\nlamp\n")
    found = tune(tmp_path, "--data", str(path), *fields("data", val=None, count=None), status=2)
    assert "none of the 2 captions of" in found
    assert "can be used for grammar" in found


def test_further_captions_that_are_missing(tmp_path):
    path = tmp_path / "more.csv"
    path.write_text("image,caption\nscenes-train-000000,a boat at sea\n")
    config = {
        "objective": {"name": "pac"},
        "data": {"count": 3, "val": None},
        "training": {"steps": 1, "batch_size": 2},
    }
    found = tune(tmp_path, "--more-captions", str(path), config=config, status=2)
    assert "has no further caption of 2 items of scenes:train" in found


def test_a_loss_that_is_no_number_leaves_the_batch(tmp_path):
    found = tune(tmp_path, "--lr", "1e30", "--steps", "4", *fields("data", val=None), status=1)
    assert "is not finite; its batch is kept in" in found
    assert list((tmp_path / "run").glob("nonfinite-step-*.json"))
