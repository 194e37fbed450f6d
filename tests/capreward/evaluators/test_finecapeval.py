"""FineCapEval: the original's arithmetic with its defects, the mended one, and the file's quirks."""

from __future__ import annotations

import csv
import json
import pickle
import random
import re

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from capreward import Samples, load
from capreward.commands import main
from capreward.data import format_names, read_captions, read_references
from capreward.data.finecapeval import load_finecapeval
from capreward.data.images.picture_lists import list_pictures
from capreward.errors import InputError
from capreward.text.nltk_tokenizer import word_tokenize
from capreward.text.porter_stemmer import porter_stem

HEADER = ["image", "caption", "background", "object", "relation"]
WORDS = [
    *("many", "grassy", "beautiful", "scenery", "car", "scarf", "cars", "a", "an", "the", "man's", "can't", "3"),
    *("standing", "running", "buses", "lady", "ladies", "sky", "U.S.", "well-lit", "café", "relational", "happily"),
    *("dies", "flies", "of", "on", "in", "it's", "piñata", "éé", "Ærø", "日本"),
]


def write(path, rows, header=HEADER, **how):
    with path.open("w", newline="", encoding=how.pop("encoding", "utf-8")) as file:
        csv.writer(file, **how).writerows([header, *rows])
    return path


def one(tmp_path, caption, *, background="x", object="x", relation="x", **options):
    """The values of a caption of one image with one row."""
    path = write(tmp_path / "data.csv", [["dir/im.jpg", "c", background, object, relation]])
    return load("finecapeval", data=path, **options).corpus(Samples([caption], key=["im"]))


def compat(tmp_path, phrases, caption):
    return one(tmp_path, caption, object=phrases).parts["object"].value


def mended(tmp_path, phrases, caption, **options):
    found = one(tmp_path, caption, object=phrases, mode="mended", **options)
    return found.parts["object-mended"].value


def original(rows, captions):
    """The original's arithmetic, written plainly: [images, 3] means of shares of words that are substrings.

    Source: tools/eval_finecapeval.py of CLIP-Caption-Reward.
    """
    table = []
    for image, caption in captions.items():
        scores = []
        for aspect in (2, 3, 4):
            phrases = []
            for row in rows:
                if row[0].split(".")[0] == image.split(".")[0] and all(isinstance(cell, str) for cell in row[1:]):
                    phrases += [p for p in row[aspect].lower().split("\\;") if len(p) > 1]
            total = 0.0
            for phrase in phrases:
                stems = [porter_stem(token) for token in word_tokenize(phrase)]
                words = " ".join(re.sub("[^a-zA-Z0-9]", "", stem) for stem in stems).split()
                total += sum(word in caption for word in words) / len(words) if words else 0.0
            scores.append(total / len(phrases) if phrases else 0.0)
        table.append(scores)
    return np.array(table)


def test_the_notes_vector(tmp_path):
    """clipreward.md 14: compat 0.5, for "sceneri" is no substring; mended 1.0."""
    caption = "beautiful scenery of a lake"
    assert compat(tmp_path, "beautiful scenery", caption) == 0.5
    assert mended(tmp_path, "beautiful scenery", caption) == 1.0


@pytest.mark.parametrize(
    ("phrases", "caption", "old", "new"),
    [
        ("a tree", "cats", 0.5, 0.0),  # "a" is in every caption with an a; mended it does not count
        ("car", "a woman with a scarf", 1.0, 0.0),
        ("cars", "one car", 1.0, 1.0),
        ("car", "two cars", 1.0, 1.0),
        ("many", "many people", 0.0, 1.0),  # stem mani
        ("grassy hill", "a grassy hill", 0.5, 1.0),
        ("dog", "A Dog runs", 0.0, 1.0),  # the original looks at the caption as it stands
        ("the", "nothing", 0.0, np.nan),  # a phrase of function words alone asks for nothing
        ("dog\\;dog\\;cat", "a dog", 2 / 3, 2 / 3),  # repeated phrases count again
        ("red dog and dog", "a dog", 2 / 4, 2 / 3),
        ("x\\;dog", "a dog", 1.0, 1.0),  # phrases of one character are dropped
        ("--\\;dog", "a dog", 0.5, 1.0),  # a phrase without words: 0, or not asked for
        ("x", "x", 0.0, np.nan),  # no phrases
        ("left;right", "left right", 0.5 + 0.5, 1.0),  # a semicolon alone separates nothing
        ("dog", "hot-dog", 1.0, 0.0),
        ("man's hat", "the man wears a hat", 1.0, 1.0),
        ("café table", "a cafe", 1 / 2, 0.0),  # the original drops the é, and "caf" is in "cafe"
        ("café table", "a café table", 1.0, 1.0),  # stem tabl
        ("ñandú", "a ñandú", 1.0, 1.0),  # "and" is left, a substring
        ("ñandú", "a band", 1.0, 0.0),
        ("日本", "日本", 0.0, 1.0),  # nothing is left
    ],
)
def test_values_by_hand(tmp_path, phrases, caption, old, new):
    assert compat(tmp_path, phrases, caption) == pytest.approx(old, abs=1e-12)
    assert mended(tmp_path, phrases, caption) == pytest.approx(new, abs=1e-12, nan_ok=True)


def test_names_end_at_their_first_dot_as_the_original_has_it(tmp_path):
    """Two images whose names differ behind a dot are one to it; mended they are two."""
    rows = [["v1.a.jpg", "c", "x", "dog", "x"], ["v1.b.jpg", "c", "x", "cat", "x"], ["w.jpg", "c", "x", "cow", "x"]]
    path = write(tmp_path / "data.csv", rows)
    for keys in (["v1", "w"], ["v1.a", "w"], ["v1.b.jpg", "w.jpg"]):
        samples = Samples(["a dog", "a cow"], key=keys)
        values = load("finecapeval", data=path, aspect="object")(samples).tolist()
        assert values == [0.5, 1.0]
        assert original(rows, dict(zip(keys, samples.captions, strict=True)))[:, 1].tolist() == values
    evaluator = load("finecapeval", data=path, mode="mended", aspect="object")
    assert evaluator(Samples(["a dog", "a dog"], key=["v1.a", "v1.b"])).tolist() == [1.0, 0.0]
    both = Samples(["a dog", "a cat"], key=["v1.a", "v1.b"])
    assert load("finecapeval", data=path, aspect="object")(both).tolist() == [0.5, 0.5]
    assert evaluator(both).tolist() == [1.0, 1.0]


def test_function_words_may_count(tmp_path):
    assert mended(tmp_path, "the dog", "a dog", function_words=True) == 0.5
    assert mended(tmp_path, "the dog", "the dog", function_words=True) == 1.0
    assert mended(tmp_path, "dog on", "a dog", function_words=False) == 0.5  # prepositions always count


def test_precision_is_the_share_of_words_that_anybody_named(tmp_path):
    said = {"background": "beach", "object": "dogs\\;ball", "relation": "dog running on sand"}
    found = one(tmp_path, "The dog is running with the red ball", **said, mode="mended")
    assert found.parts["precision-mended"].value == 3 / 5  # dog, run, ball of dog, run, with, red, ball
    assert one(tmp_path, "", **said, mode="mended").parts["precision-mended"].value == 0.0


def random_rows(draw, images, broken=0.0):
    def cell(pieces):
        phrases = [" ".join(draw.choices(WORDS, k=draw.randint(0, 3))) for _ in range(pieces)]
        text = draw.choice(["\\;", "\\; "]).join(phrases)
        return None if draw.random() < broken or text == "" else text

    rows = [[image, cell(1), cell(3), cell(2), cell(draw.randint(1, 2))] for image in images for _ in range(5)]
    draw.shuffle(rows)
    return rows


@pytest.mark.parametrize("seed", range(8))
def test_compat_equals_the_original(tmp_path, seed):
    draw = random.Random(seed)
    images = [f"im{i}.jpg" for i in range(20)]
    rows = random_rows(draw, images, broken=0.05)
    written = [["" if cell is None else cell for cell in row] for row in rows]
    path = write(tmp_path / "data.csv", written, encoding="utf-8-sig")
    described = load_finecapeval(path).images
    captions = {image: " ".join(draw.choices(WORDS, k=8)) for image in images if image in described}
    evaluator = load("finecapeval", data=path)
    found = evaluator.corpus(Samples(list(captions.values()), key=list(captions)))
    wanted = original(rows, captions)
    got = np.stack([found.parts[name].per_caption for name in ("background", "object", "relation")], axis=1)
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-15)
    assert found.parts["background"].value == pytest.approx(wanted[:, 0].mean(), rel=1e-12)
    assert len({round(v, 6) for v in wanted.ravel()}) > 10


@pytest.mark.parametrize("mode", ["compat", "mended"])
def test_order_batches_and_pickles_change_nothing(tmp_path, mode):
    draw = random.Random(5)
    images = [f"im{i}.jpg" for i in range(12)]
    path = write(tmp_path / "data.csv", [r for r in random_rows(draw, images) if None not in r])
    captions = [" ".join(draw.choices(WORDS, k=9)) for _ in range(24)]
    evaluator = load("finecapeval", data=path, mode=mode)
    samples = Samples(captions, item=[i % 12 for i in range(24)], key=images)
    whole = evaluator.per_caption(samples, evaluator.prepare(samples))
    again = pickle.loads(pickle.dumps(evaluator))
    prepared = pickle.loads(pickle.dumps(again.prepare(samples)))
    for rows in (np.arange(24)[::-1], np.array([3]), np.array([5, 1, 17])):
        np.testing.assert_array_equal(again.per_caption(samples.take(rows), prepared), whole[rows])
    assert whole.shape == (24, 3 if mode == "compat" else 4)
    assert ((whole >= 0) & (whole <= 1) | np.isnan(whole)).all()


def test_as_a_reward_it_needs_an_aspect_and_gives_nan_for_strangers(tmp_path):
    path = write(tmp_path / "data.csv", [["a.jpg", "c", "lake", "dog", "dog in lake"]])
    samples = Samples(["a dog", "a dog"], key=["a", "b"])
    with pytest.raises(InputError, match="aspect=object"):
        load("finecapeval", data=path)(samples)
    values = load(f"finecapeval(data={path},aspect=object)")(samples).numpy()
    np.testing.assert_array_equal(values, [1.0, np.nan])
    relation = load("finecapeval", data=path, aspect="relation", mode="mended").corpus(samples)
    assert (relation.name, relation.value) == ("relation-mended", 1 / 3)
    assert "mode:mended|aspect:relation|data:data.csv(1," in str(relation.signature)
    with pytest.raises(InputError, match="images that FineCapEval's file describes; none of the 1"):
        load("finecapeval", data=path).corpus(Samples(["a"], key=["zzz"]))


def test_it_needs_its_file():
    with pytest.raises(InputError, match="data=FineCapEval.csv"):
        load("finecapeval").corpus(Samples(["a"]))
    with pytest.raises(InputError, match="data=FineCapEval.csv"):
        load("finecapeval(aspect=object)")(Samples(["a"]))


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"data": "x.csv", "mode": "new"}, "compat and mended"),
        ({"data": "x.csv", "aspect": "colour"}, "background, object, relation"),
        ({"data": "x.csv", "function_words": True}, "mode=mended"),
        ({"data": "nowhere.csv"}, "does not exist"),
    ],
)
def test_bad_options(options, found):
    with pytest.raises(InputError, match=found):
        load("finecapeval", **options)


def test_quirks_of_the_file(tmp_path):
    """A BOM, CRLF, quotes, commas, other order of columns, more columns, short and blank rows, NaN, "None"."""
    path = tmp_path / "data.csv"
    lines = [
        "\ufeffindex,relation,image,Caption,background,object",
        '0,"on, in",b.jpg,"say ""hi"", you",lake\\;hill,"dog\\;cat"',
        "1,none,a.jpg,two,sea,nan",
        "",
        "2,near,a.jpg,three,None,dog",
        "3,near,a.jpg",
        "4,far,b.jpg,four,sea,cat",
    ]
    path.write_bytes("\r\n".join(lines).encode())
    data = load_finecapeval(path)
    assert [(r.line, r.image, r.caption, r.aspects) for r in data.rows] == [
        (2, "b.jpg", 'say "hi", you', ("lake\\;hill", "dog\\;cat", "on, in")),
        (5, "a.jpg", "three", ("None", "dog", "near")),
        (7, "b.jpg", "four", ("sea", "cat", "far")),
    ]
    assert data.skipped == [3, 6]
    notes = data.notes()
    assert "2 rows" in notes[0]
    assert "line 3, 6" in notes[0]
    assert "2 images" in notes[1]
    assert "1 with 1, 1 with 2" in notes[1]
    assert read_references(path).references == {"b.jpg": ['say "hi", you', "four"], "a.jpg": ["three"]}
    assert read_captions(path).format == "finecapeval"
    assert "finecapeval" in format_names()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("image,caption,background,object\na,b,c,d\n", "no column relation"),
        ("image,caption,background,object,relation\na,b,c,d,e,f\n", "6 cells where the header has 5"),
        ("image,caption,background,object,relation\n,b,c,d,e\n", "line 2: the cell of column image is empty"),
        ('image,caption,background,object,relation\na,"b,c,d,e\n', "from line 2: the quoting is broken"),
        ("image,caption,background,object,relation\na,,c,d,e\n", "no row with all of"),
    ],
)
def test_files_that_are_refused(tmp_path, text, found):
    path = tmp_path / "data.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=found):
        load_finecapeval(path)


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def files(tmp_path):
    rows = [[f"im{i}.jpg", f"a dog {i} in a lake", "lake", "a dog", "dog in lake"] for i in range(3) for _ in range(5)]
    rows[4][2] = "grassy lake"
    path = write(tmp_path / "FineCapEval.csv", rows)
    captions = tmp_path / "mle.json"
    captions.write_text(json.dumps({"im0": "a grassy dog in a lake", "im1": "a cat", "im2": "a lake"}))
    other = tmp_path / "clips.json"
    other.write_text(json.dumps([{"image_id": f"im{i}", "caption": "dog in lake"} for i in range(3)]))
    return path, captions, other


def test_command_prints_both_ways_beside_overall_metrics(files, tmp_path):
    data, captions, other = files
    values = tmp_path / "values.csv"
    options = ("-m", "bleu4,rouge", "--json", "--per-caption", values)
    done = run("finecapeval", captions, other, "--data", data, *options)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    first, second = (system["scores"] for system in told["systems"])
    aspects = ["background", "object", "relation"]
    names = [*aspects, *(f"{a}-mended" for a in aspects), "precision-mended"]
    assert list(first) == ["bleu4", "rouge", *names]
    # background: (4 + 0.5) / 5 of im0, for "grassi" is no substring; 0; 1. object: "a" is in every caption.
    assert first["background"]["value"] == pytest.approx((0.9 + 0 + 1) / 3)
    assert first["object"]["value"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert first["background-mended"]["value"] == pytest.approx(2 / 3)
    assert first["object-mended"]["value"] == pytest.approx(1 / 3)
    assert second["object-mended"]["value"] == 1.0
    low, high = first["background"]["interval"]
    assert low < first["background"]["value"] < high
    scored = run("score", captions, "-r", data, "-m", "bleu4,rouge", "--json", "-q")
    same = json.loads(scored.stdout)["systems"][0]["scores"]
    assert same["rouge"]["value"] == first["rouge"]["value"] > 0
    assert "63.33" in done.stderr
    assert "3 of 3 images matched" in done.stderr
    assert len(list(csv.DictReader(values.open()))) == 6


def test_command_alone_and_in_the_original_way(files):
    data, captions, _ = files
    done = run("finecapeval", captions, "--data", data, "-m", "none", "--compat-only", "--markdown", "--resamples", "0")
    assert done.stdout.splitlines()[2] == "| mle | 63.33 | 66.67 | 44.44 |"
    kept = run("finecapeval", captions, "--data", data, "-m", "none", "--function-words", "--json", "-q")
    assert json.loads(kept.stdout)["systems"][0]["scores"]["object-mended"]["value"] == pytest.approx(
        (1 + 0.5 + 0.5) / 3
    )
    scored = run("score", captions, "-m", f"finecapeval(data={data})", "--json", "-q")
    found = json.loads(scored.stdout)["systems"][0]["scores"]
    assert found["background"]["value"] == pytest.approx(1.9 / 3)


def test_command_tells_what_does_not_fit(files, tmp_path):
    data, captions, _ = files
    some = tmp_path / "some.json"
    some.write_text(json.dumps({"im1": "a dog", "strange": "a dog"}))
    refused = run("finecapeval", some, "--data", data, "-m", "none")
    assert refused.exit_code == 2
    assert "strange" in refused.stderr
    done = run("finecapeval", some, "--data", data, "-m", "none", "--allow-missing")
    assert done.exit_code == 0
    assert "2 of 3 images of" in done.stderr
    assert "have no caption" in done.stderr
    assert run("finecapeval", captions, "--data", captions).exit_code == 2


def test_images_listed_by_the_original_json(tmp_path):
    (tmp_path / "val").mkdir()
    for i in range(2):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / "val" / f"p{i}.png")
    listed = tmp_path / "FineCapEval.json"
    images = [{"id": i, "file_path": f"val/p{1 - i}.png"} for i in range(2)]
    listed.write_text(json.dumps({"ix_to_word": {"1": "a"}, "images": images}))
    keys, pictures = list_pictures(str(listed))
    assert keys == ["0", "1"]
    assert [p.open().getpixel((0, 0))[0] for p in pictures] == [1, 0]
    listed.write_text(json.dumps({"images": [{"id": 0}]}))
    with pytest.raises(InputError, match="image 1 has no id or no file_path"):
        list_pictures(str(listed))


def test_pack_takes_the_file_with_its_pictures(files, tmp_path):
    data, _, _ = files
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(3):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(photos / f"im{i}.jpg")
    done = run("pack", data, "-i", photos, "-o", tmp_path, "--name", "fine", "--json", "-q")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["samples"], told["captions"]) == (3, 15)
    back = read_references(tmp_path / "fine-000.tar").references
    assert next(iter(back.values())) == ["a dog 0 in a lake"] * 5
