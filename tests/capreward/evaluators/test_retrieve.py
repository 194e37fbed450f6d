"""``retrieval`` as an evaluator and as a command: values by brute force, what they show and what they refuse."""

from __future__ import annotations

import csv
import json

import clip_originals as original
import numpy as np
import open_clip
import pytest
from click.testing import CliRunner
from clip_helpers import OPENAI, small_model, write_folder
from PIL import Image

import capreward
from capreward.commands import main
from capreward.encoders.store.feature_store import FeatureStore
from capreward.errors import InputError

KEYS = [f"scenes-test-{i:06d}" for i in range(30)]
PARTS = ("r1", "r5", "r10", "r50", "medr", "meanr", "mrr")
CAPTIONS = [f"{number} {colour} {thing}" for number in ("a", "two") for colour in ("red", "blue") for thing in "abcd"]
ITEM = [0, 0, 0, 1, 2, 3, 3, 4, 5, 6, 7, 7, 7, 8, 9, 10]


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def table(*arguments):
    """System to metric to row of JSON, and the notes."""
    done = run("retrieve", *arguments, "--json", "--quiet")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    return {s["name"]: s["scores"] for s in found["systems"]}, found["notes"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("clip") / "small", small_model())


@pytest.fixture(scope="module")
def images():
    draw = np.random.default_rng(0)
    return [Image.fromarray(draw.integers(0, 256, (40 + i, 50, 3), dtype=np.uint8)) for i in range(12)]


@pytest.fixture(scope="module")
def scores(images):
    """The table of cosines [16, 12] by the original scripts' steps, without a prompt."""
    model = small_model()
    image = original.normalised(original.image_features(model, images, original.transform(32, **OPENAI)))
    text = original.normalised(original.text_features(model, open_clip.SimpleTokenizer(), CAPTIONS, prompt=""))
    return text.astype(np.float64) @ image.astype(np.float64).T


def loaded(folder, **options):
    return capreward.load("retrieval", checkpoint=str(folder), device="cpu", **options)


def samples(images, captions=CAPTIONS, item=ITEM):
    return capreward.Samples(captions, images=images, item=item)


def by_sorting(scores, item):
    """Ranks as the original has them: places in a descending order, of an image the best of its captions."""
    item = np.array(item)
    by_text = np.array([np.argsort(-row).tolist().index(i) + 1 for row, i in zip(scores, item, strict=True)])
    places = np.argsort(np.argsort(-scores, axis=0), axis=0) + 1
    by_image = np.array([places[item == i, i].min() for i in np.unique(item)])
    return by_text, by_image


def printed(ranks):
    """What papers print of ranks."""
    shares = {f"r{k}": np.mean(ranks <= k) for k in (1, 5, 10, 50)}
    median = np.floor(np.median(ranks - 1)) + 1
    return {**shares, "medr": median, "meanr": np.mean(ranks), "mrr": np.mean(1 / ranks)}


def test_the_evaluator_equals_brute_force(folder, images, scores):
    """Several captions of an image, and an image without a caption that is there to be found."""
    found = loaded(folder).corpus(samples(images))
    both = by_sorting(scores, ITEM)
    assert len(set(both[0])) > 5 < len(set(both[1]))
    for way, ranks in zip(("t2i", "i2t"), both, strict=True):
        for part, value in printed(ranks).items():
            assert found.parts[f"retrieval-{way}-{part}"].value == pytest.approx(value, rel=1e-12), (way, part)
    assert list(found.parts) == [f"retrieval-{way}-{part}" for way in ("t2i", "i2t") for part in PARTS]
    np.testing.assert_array_equal(found.parts["retrieval-t2i-meanr"].per_caption, both[0])
    of_item = dict(zip(sorted(set(ITEM)), both[1], strict=True))
    np.testing.assert_allclose(found.parts["retrieval-i2t-meanr"].per_caption, [of_item[i] for i in ITEM], rtol=1e-12)
    assert found.parts["retrieval-t2i-medr"].per_caption is None
    directions = {name.rpartition("-")[2]: score.higher_is_better for name, score in found.parts.items()}
    assert directions == {**dict.fromkeys(PARTS, True), "medr": False, "meanr": False}
    assert "|prompt:none|ties:pessimistic|gallery:12x16|v:" in str(found.signature)
    assert "|w:" not in str(found.signature)


def test_order_and_prompt(folder, images, scores):
    whole = loaded(folder).corpus(samples(images))
    order = np.random.default_rng(1).permutation(16)
    moved = np.random.default_rng(2).permutation(12)
    place = np.argsort(moved)
    mixed = samples([images[i] for i in moved], [CAPTIONS[i] for i in order], [int(place[ITEM[i]]) for i in order])
    for name, score in loaded(folder).corpus(mixed).parts.items():
        assert score.value == pytest.approx(whole.parts[name].value, rel=1e-12), name
    prompted = loaded(folder, prompt="A photo depicts").corpus(samples(images))
    assert "|prompt:A_photo_depicts|" in str(prompted.signature)
    ranks = [s.parts["retrieval-t2i-meanr"].per_caption for s in (whole, prompted)]
    assert not np.array_equal(*ranks)


def test_a_picture_that_is_there_twice_is_a_tie(folder, images, tmp_path):
    """Its features are stored once: two passes of a tower may differ by rounding, which would be no tie."""
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(images):
        image.save(tmp_path / f"photos/{number:02d}.png")
    done = run("embed", tmp_path / "photos", "-o", tmp_path / "store", "--checkpoint", folder, "-q")
    assert done.exit_code == 0, done.output
    store = FeatureStore(tmp_path / "store")
    twice = samples([store.stored(store.keys[n]) for n in (*range(11), 0)])
    hits = [
        loaded(folder, ties=t).corpus(twice).parts["retrieval-t2i-meanr"].per_caption[:3]
        for t in ("optimistic", "mean", "pessimistic")
    ]
    np.testing.assert_array_equal(hits[1] - hits[0], 0.5)
    np.testing.assert_array_equal(hits[2] - hits[0], 1.0)


def test_intervals_draw_the_queries_alone(folder, images):
    found = loaded(folder).corpus(samples(images))
    low, high = found.parts["retrieval-t2i-mrr"].interval(resamples=200)
    assert low < found.parts["retrieval-t2i-mrr"].value < high
    assert found.parts["retrieval-i2t-medr"].interval() is None
    with pytest.raises(InputError, match="ranks within each half are none within the whole"):
        found.parts["retrieval-t2i-r1"].merge(found.parts["retrieval-t2i-r1"])


def test_broken_images_are_neither_asked_nor_found(folder, images, tmp_path, scores):
    (tmp_path / "broken.jpg").write_text("no picture")
    shown = [str(tmp_path / "broken.jpg") if i == 3 else image for i, image in enumerate(images)]
    found = loaded(folder, skip_broken=True).corpus(samples(shown))
    kept = np.array(ITEM) != 3
    left = np.delete(scores[kept], 3, axis=1)
    item = [i - (i > 3) for i in ITEM if i != 3]
    for way, ranks in zip(("t2i", "i2t"), by_sorting(left, item), strict=True):
        for part, value in printed(ranks).items():
            assert found.parts[f"retrieval-{way}-{part}"].value == pytest.approx(value, rel=1e-12)
    assert np.isnan(found.parts["retrieval-t2i-r1"].per_caption).tolist() == (~kept).tolist()
    assert "|gallery:11x14|" in str(found.signature)


def test_it_is_no_reward(folder, images):
    for reward in ("retrieval", "clips + retrieval"):
        with pytest.raises(
            InputError, match="ranks captions among all others of the set, and is no reward; write clips"
        ):
            capreward.load(reward)(samples(images))
    for options, sentence in (
        ({"family": "x"}, "retrieval: family='x' is none of clips, pacs, pacspp, grammar"),
        ({"ties": "x"}, "retrieval: ties='x' is none of pessimistic, mean, optimistic"),
        ({"w": 2}, "retrieval has no option 'w'"),
    ):
        with pytest.raises(InputError, match=sentence):
            capreward.load("retrieval", **options)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """References of 30 scenes, the first and the last (a short one) of each, and one caption for all."""
    from capreward.data.scenes import picture_of

    path = tmp_path_factory.mktemp("captions")
    every = {key: list(picture_of(key).scene.captions) for key in KEYS}
    (path / "all.json").write_text(json.dumps(every))
    (path / "first.json").write_text(json.dumps({key: listed[0] for key, listed in every.items()}))
    (path / "last.json").write_text(json.dumps({key: listed[-1] for key, listed in every.items()}))
    (path / "same.json").write_text(json.dumps(dict.fromkeys(KEYS, "a red ball .")))
    return path


def test_the_command_shows_systems_side_by_side(files):
    found, notes = table(files / "first.json", files / "same.json", "--images", "scenes")
    first, same = found["first"], found["same"]
    assert first["retrieval-t2i-r1"]["value"] > 0.8 < first["retrieval-i2t-r1"]["value"]
    assert [same[f"retrieval-i2t-{part}"]["value"] for part in PARTS] == [0, 0, 0, 1, 30, 30, pytest.approx(1 / 30)]
    assert same["retrieval-t2i-meanr"]["value"] == pytest.approx(
        15.5
    )  # one ranking of the images, each looked for once
    assert same["retrieval-t2i-mrr"]["value"] == pytest.approx(np.mean(1 / np.arange(1, 31)))
    assert first["retrieval-t2i-medr"]["interval"] is None
    last, _ = table(files / "last.json", "--images", "scenes")
    row = last["last"]["retrieval-t2i-mrr"]
    assert row["interval"][0] < row["value"] < row["interval"][1]
    assert notes == ["pictures of scenes are judged by scenes-clip, which ships with capreward"]
    shown = run("retrieve", files / "first.json", "--images", "scenes", "--percent", "--markdown")
    assert (
        "| T2I R@1 | T2I R@5 | T2I R@10 | T2I R@50 | T2I median rank ↓ | T2I mean rank ↓ | T2I MRR | I2T"
        in shown.stdout
    )
    assert "T2I median rank ↓" in shown.stderr
    assert run("retrieve", files / "first.json", "--images", "scenes", "--latex").stdout.count(r"T2I R@1 &") == 1


def test_score_gives_the_same_numbers(files):
    alone, _ = table(files / "first.json", "--images", "scenes")
    done = run("score", files / "first.json", "--images", "scenes", "-m", "retrieval,clips", "--json", "--quiet")
    beside = json.loads(done.stdout)["systems"][0]["scores"]
    assert {n: v for n, v in beside.items() if n != "clips"} == alone["first"]


def test_a_file_of_references_is_a_file_of_captions(files):
    every, _ = table(files / "all.json", "--images", "scenes")
    first, _ = table(files / "all.json", "--images", "scenes", "--first")
    alone, _ = table(files / "first.json", "--images", "scenes")
    assert first["all"] == alone["first"]
    assert "gallery:30x150" in every["all"]["retrieval-i2t-r1"]["signature"]
    _, notes = table(files / "all.json", files / "first.json", "--images", "scenes", "--resamples", 0)
    assert notes[-1] == "the files hold different numbers of images or captions: their ranks do not compare"


def test_other_weights_prompts_stores_and_tables(files, tmp_path):
    def value(*options, images="scenes"):
        return table(files / "last.json", "--images", images, *options)[0]["last"]["retrieval-t2i-mrr"]

    plain = value()
    assert "|model:scenes-pacs|" in value("--for", "pacs")["signature"]
    assert "|model:scenes-judge|" in value("--checkpoint", "scenes-judge")["signature"]
    assert "|ties:mean|" in value("--ties", "mean")["signature"]
    prompted = value("--prompt", "two red balls and a blue cube")
    assert "|prompt:two_red_balls_and_a_blue_cube|" in prompted["signature"]
    assert prompted["value"] != plain["value"]
    store = tmp_path / "store"
    done = run("embed", "--captions", files / "last.json", "scenes", "-o", store, "--quiet")
    assert done.exit_code == 0, done.output
    assert value(images=store) == plain
    with (tmp_path / "last.csv").open("w", newline="") as file:
        rows = json.loads((files / "last.json").read_text()).items()
        csv.writer(file).writerows([("scene", "said"), *rows])
    columns = ("--id-column", "scene", "--caption-column", "said")
    found, _ = table(tmp_path / "last.csv", "--images", "scenes", *columns)
    assert found["last"]["retrieval-t2i-mrr"] == plain


def test_a_split_of_karpathys_file(tmp_path):
    entries = [
        {
            "cocoid": i,
            "split": split,
            "filename": f"{i}.png",
            "sentences": [{"raw": f"caption {i} {k}"} for k in (1, 2)],
        }
        for i, split in enumerate(["test", "val", "test"])
    ]
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"dataset": "coco", "images": entries}))
    (tmp_path / "photos").mkdir()
    for i in range(3):
        Image.radial_gradient("L").rotate(40 * i).convert("RGB").save(tmp_path / "photos" / f"{i}.png")
    given = (tmp_path / "dataset_coco.json", "--split", "test", "--images", tmp_path / "photos")
    found, _ = table(*given, "--checkpoint", "scenes-clip")
    assert "gallery:2x4" in found["dataset_coco"]["retrieval-t2i-r1"]["signature"]


def test_images_that_are_not_there(tmp_path):
    (tmp_path / "captions.json").write_text(json.dumps({"1": "a dog"}))
    done = run("retrieve", tmp_path / "captions.json")
    assert done.exit_code == 2
    assert "the images are needed; give --images FOLDER" in done.stderr
    assert "Traceback" not in done.stderr
