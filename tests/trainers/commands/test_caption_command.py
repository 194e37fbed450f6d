"""``capreward caption``: the captioner's own captions of pictures of every kind, as lines and as JSON."""

from __future__ import annotations

import json
import tarfile

import pytest
import torch
from image_files import smooth
from run_helpers import called, captions_by_hand, refused, small_run

from capreward.data.scenes import picture_of
from trainers.captioners.base import Captioner

KEYS = [f"scenes-test-{n:06d}" for n in range(5)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("caption") / "xe")


@pytest.fixture(scope="module")
def expected(run):
    """With the run's own search: 2 beams, at most 20 tokens."""
    return captions_by_hand(Captioner.from_pretrained(run), KEYS, beams=2, max_length=20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The same pictures as files."""
    place = tmp_path_factory.mktemp("pictures")
    for key in KEYS:
        picture_of(key).open().save(place / f"{key}.png")
    return place


def lines(done):
    assert done.exit_code == 0, done.output
    return [tuple(line.split("\t")) for line in done.stdout.splitlines()]


def test_lines_are_the_captioners_own_captions(run, expected):
    done = called("caption", "scenes:test", "--count", 5, "-c", run)
    assert lines(done) == list(zip(KEYS, expected, strict=True))
    assert len(set(expected)) > 1  # it looks at the picture
    assert f"5 captions of 5 pictures by {run} (beam search with 2 beams, at most 20 tokens)" in done.stderr


def test_the_size_of_a_batch_changes_nothing(run, expected):
    done = called("caption", "scenes:test", "--count", 5, "-c", run, "--batch-size", 2, "-q")
    assert [caption for _, caption in lines(done)] == expected
    assert done.stderr == ""


def test_the_best_captioner_of_a_run_can_be_named_itself(run, expected):
    done = called("caption", "scenes:test", "--count", 5, "-c", run / "best")
    assert [caption for _, caption in lines(done)] == expected  # the run's search is found beside it


def test_files_folders_and_shards_give_the_same_captions(run, expected, folder, tmp_path):
    both = list(zip(KEYS, expected, strict=True))
    assert lines(called("caption", folder, "-c", run)) == both
    files = [folder / f"{key}.png" for key in reversed(KEYS)]
    assert lines(called("caption", *files, "-c", run)) == both[::-1]
    with tarfile.open(tmp_path / "five.tar", "w") as tar:
        for key in KEYS:
            tar.add(folder / f"{key}.png", f"{key}.png")
    assert lines(called("caption", tmp_path / "five.tar", "-c", run, "--count", 3)) == both[:3]
    mixed = called("caption", tmp_path / "five.tar", "scenes:val", "--count", 7, "-c", run)
    assert [key for key, _ in lines(mixed)] == [*KEYS, "scenes-val-000000", "scenes-val-000001"]


def test_json_goes_back_into_score(run, expected, tmp_path):
    path = tmp_path / "captions.json"
    done = called("caption", "scenes:test", "--count", 5, "-c", run, "-o", path)
    assert done.exit_code == 0
    assert done.stdout == ""
    assert str(path) in done.stderr
    rows = json.loads(path.read_text(encoding="utf-8"))
    assert rows == [{"image_id": k, "caption": c} for k, c in zip(KEYS, expected, strict=True)]
    printed = called("caption", "scenes:test", "--count", 5, "-c", run, "--json")
    assert json.loads(printed.stdout) == rows
    scored = called("score", path, "-r", "scenes", "-m", "cider", "--json", "--resamples", 0)
    assert scored.exit_code == 0
    assert json.loads(scored.stdout)["systems"][0]["captions"] == 5


def test_stored_tokens_stand_for_the_pictures(run, expected, folder, tmp_path):
    store = tmp_path / "tokens"
    done = called("embed", "scenes:test", "--count", 5, "--tokens", "--model", "scenes-clip", "-o", store, "-q")
    assert done.exit_code == 0, done.output
    assert lines(called("caption", store, "-c", run)) == list(zip(KEYS, expected, strict=True))
    assert "cannot be captioned together" in refused("caption", store, "scenes:val", "--count", 7, "-c", run)
    other = tmp_path / "features"
    assert called("embed", "scenes:test", "--count", 5, "--model", "scenes-clip", "-o", other, "-q").exit_code == 0
    assert "this captioner takes image features" in refused("caption", other, "-c", run)


def test_candidates_come_best_first_with_their_scores(run, tmp_path):
    done = called("caption", "scenes:test", "--count", 3, "-c", run, "--candidates", 3, "--json", "--max-length", 12)
    rows = json.loads(done.stdout)
    assert [row["image_id"] for row in rows] == [key for key in KEYS[:3] for _ in range(3)]
    captioner = Captioner.from_pretrained(run)
    for start in range(0, 9, 3):
        three = rows[start : start + 3]
        assert sorted((row["score"] for row in three), reverse=True) == [row["score"] for row in three]
        assert len({row["caption"] for row in three}) > 1
    ended = [row for row in rows if len(captioner.vocabulary.encode(row["caption"])) < 10]
    for row in ended:  # a finished caption's score is its mean log-probability, the end token counted
        from capreward.data.images.preprocessing import prepare

        crop = torch.from_numpy(prepare(picture_of(row["image_id"]), captioner.preprocessing))[None]
        tokens = captioner.token_rows([row["caption"]])
        with torch.no_grad():
            found = captioner.logprobs(captioner.encode(captioner.look(crop)), tokens)
        mean = float(found.sum() / (found != 0).sum())
        assert row["score"] == pytest.approx(mean, abs=2e-5)
    text = called("caption", "scenes:test", "--count", 1, "-c", run, "--candidates", 2)
    assert [len(line) for line in lines(text)] == [3, 3]  # key, score, caption
    path = tmp_path / "three.json"
    path.write_text(done.stdout, encoding="utf-8")
    assert called("score", path, "-m", "repetition", "--multiple", "-q", "--json").exit_code == 0


def test_sampling_follows_its_seed(run):
    draw = ("caption", "scenes:test", "--count", 4, "-c", run, "--sample", "--temperature", 1.5, "--top-k", 40)
    first, again = called(*draw, "--seed", 3), called(*draw, "--seed", 3)
    assert lines(first) == lines(again)
    assert lines(first) != lines(called(*draw, "--seed", 4))
    assert "sampling at temperature 1.5" in first.stderr


def test_greedy_is_one_beam(run):
    greedy = called("caption", "scenes:test", "--count", 4, "-c", run, "--greedy")
    assert lines(greedy) == lines(called("caption", "scenes:test", "--count", 4, "-c", run, "--beams", 1))


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--temperature", "2"], "--temperature belongs to sampling; add --sample"),
        (["--sample", "--beams", "3"], "--beams belongs to beam search; leave it or --sample out"),
        (["--sample", "--greedy"], "exclude each other"),
        (["--diversity", "1"], "add --groups"),
        (["--beams", "2", "--candidates", "3"], "more than the 2 beams"),
        (["--max-length", "99"], "this captioner has 48 places"),
        (["--precision", "fp16"], "fp16 needs a GPU"),
        (["--device", "cuda:9"], "CUDA devices"),
        (["-o", "no/such/folder/x.json"], "there is no folder no/such/folder"),
    ],
)
def test_flags_that_do_not_go_together(run, flags, sentence):
    assert sentence in refused("caption", "scenes:test", "--count", "2", "-c", run, *flags)


def test_broken_pictures_are_refused_or_left_out(run, expected, folder, tmp_path):
    for key in KEYS:
        (tmp_path / f"{key}.png").write_bytes((folder / f"{key}.png").read_bytes())
    (tmp_path / f"{KEYS[2]}.png").write_bytes((folder / f"{KEYS[2]}.png").read_bytes()[:60])
    told = refused("caption", tmp_path, "-c", run)
    assert f"{KEYS[2]}.png is damaged" in told
    assert "--skip-broken" in told
    out = tmp_path / "captions.json"
    assert "damaged" in refused("caption", tmp_path, "-c", run, "-o", out)
    assert not out.exists()
    done = called("caption", tmp_path, "-c", run, "--skip-broken")
    good = [n for n in range(5) if n != 2]
    assert lines(done) == [(KEYS[n], expected[n]) for n in good]
    assert "note: 1 broken picture left out" in done.stderr
    assert f"{KEYS[2]}.png" in done.stderr


def test_what_is_no_picture_and_who_is_no_captioner(run, tmp_path):
    smooth(40, 30).save(tmp_path / "photo.png")
    assert "no captioner is named; give --captioner" in refused("caption", tmp_path / "photo.png")
    assert "there is no picture" in refused("caption", tmp_path / "none.png", "-c", run)
    assert "does not exist" in refused("caption", tmp_path / "none", "-c", run)
    assert "there is no captioner" in refused("caption", "scenes:test", "-c", tmp_path / "none")
    assert "no captioner" in refused("caption", "scenes:test", "-c", tmp_path)
    (tmp_path / "sub").mkdir()
    smooth(40, 30).save(tmp_path / "sub/photo.png")
    done = called("caption", tmp_path / "photo.png", tmp_path / "sub/photo.png", "-c", run)
    assert [key for key, _ in lines(done)] == [str(tmp_path / "photo.png"), str(tmp_path / "sub/photo.png")]
    assert "share a key" in refused("caption", tmp_path / "sub", tmp_path / "photo.png", "-c", run)


def test_a_line_stays_a_line():
    from trainers.commands.caption import _line

    assert _line({"image_id": "a\tb", "caption": "two\nlines\t here"}) == "a b\ttwo lines here\n"
    assert _line({"image_id": "k", "caption": "c", "score": -1.25}) == "k\t-1.2500\tc\n"


def test_bf16_runs_on_the_cpu(run):
    assert len(lines(called("caption", "scenes:test", "--count", 2, "-c", run, "--precision", "bf16"))) == 2
