"""A captioner that learns from stored tokens, rewarded by pictures."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from train_helpers import column, fields, rows, train

from capreward.commands import main


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Tokens of the first pictures of scenes:train and scenes:val."""
    folder = tmp_path_factory.mktemp("tokens") / "store"
    for source, count in (("scenes:train", "24"), ("scenes:val", "6")):
        done = CliRunner().invoke(main, ["embed", source, "--count", count, "--tokens", "-o", str(folder)])
        assert done.exit_code == 0, done.output
    return folder


def test_stored_tokens_teach_what_the_pictures_teach(tmp_path, store):
    """The same tower, once looked through and once stored: the same losses."""
    extra = ["--steps", "4", *fields("captioner", vocabulary="learn")]
    train(tmp_path, *extra, run="pictures")
    train(tmp_path, *extra, "--tower", "stored", "--images", str(store), run="stored")
    looked, stored = (column(tmp_path / run, "loss") for run in ("pictures", "stored"))
    assert stored == pytest.approx(looked, abs=1e-5)


def test_rewards_see_other_pictures_than_the_captioner(tmp_path, store):
    stored = ["--tower", "stored", "--images", str(store), "--reward-images", "scenes"]
    train(tmp_path, *stored, "--steps", "4", *fields("captioner", vocabulary="learn"), run="xe")
    begin = ["--captioner", str(tmp_path / "xe"), *stored, *fields("optimizer", max_length=10)]
    train(tmp_path, *begin, "--optimizer", "dico", "--reward", "pacs", "--steps", "2", "--metrics", "pacs", run="dico")
    assert all(0 < reward < 2 for reward in column(tmp_path / "dico", "reward"))
    assert all(0 < row["pacs"] < 2 for row in rows(tmp_path / "dico", "eval"))


def test_a_reward_on_pictures_refuses_stored_tokens(tmp_path, store):
    stored = ["--tower", "stored", "--images", str(store)]
    train(tmp_path, *stored, "--steps", "2", *fields("captioner", vocabulary="learn"), run="xe")
    begin = ["--captioner", str(tmp_path / "xe"), *stored, "--optimizer", "dico", "--reward", "pacs", "--steps", "2"]
    told = train(tmp_path, *begin, *fields("optimizer", max_length=10), status=2, run="dico")
    assert "Traceback" not in told
    assert "tokens" in told
