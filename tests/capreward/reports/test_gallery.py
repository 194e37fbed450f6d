"""The gallery: which captions it shows and why, and a page that is whole, safe and self-contained."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from page_reader import TEMPLATE, Reader
from PIL import Image

import capreward
from capreward import InputError
from capreward.reports.gallery import write_gallery
from capreward.reports.gallery_choice import Choice, percentile_ranks
from capreward.reports.gallery_pictures import thumbnail
from capreward.reports.html_templates import render
from capreward.reports.results import Results, SystemResult
from capreward.scores import Score, Scores, Signature

KEYS = ["k1", "k2", "k3", "k4", "k5"]
CLIPS = [0.9, 0.1, 0.5, 0.7, float("nan")]
CIDER = [0.2, 1.9, 0.5, 1.4, 0.1]
REPETITION = [0.0, 0.5, 0.0, 0.1, 0.0]  # less is better


def score(name, values, **options):
    known = np.array(values, dtype=np.float64)
    return Score(name, float(np.nanmean(known)), Signature.of(name, w="2.5"), per_caption=known, **options)


def system(name="one", keys=KEYS, captions=None, **metrics):
    captions = captions or [f"{name} tells {k}" for k in keys]
    scores = [score(n.replace("_", "-"), v, higher_is_better=n != "repetition") for n, v in metrics.items()]
    return SystemResult(name, Scores(scores, keys=list(keys), captions=captions), {}, len(set(keys)))


@pytest.fixture
def one():
    return Results([system(clips=CLIPS, cider=CIDER)])


@pytest.fixture
def two():
    return Results(
        [system("xe", KEYS[:3], clips=[0.1, 0.5, 0.5]), system("rl", ["k2", "k1", "k5"], clips=[0.6, 0.9, 0.7])]
    )


def test_percentile_ranks():
    nan = float("nan")
    assert percentile_ranks(np.array([3.0, 1.0, 2.0])).tolist() == [1.0, 0.0, 0.5]
    assert percentile_ranks(np.array([3.0, 1.0, 2.0]), higher_is_better=False).tolist() == [0.0, 1.0, 0.5]
    assert percentile_ranks(np.array([1.0, 1.0, 2.0, 1.00001, 0.0])).tolist() == [0.5, 0.5, 1.0, 0.5, 0.0]
    found = percentile_ranks(np.array([nan, 5.0, nan, 4.0]))
    assert np.isnan(found[[0, 2]]).all()
    assert found[[1, 3]].tolist() == [1.0, 0.0]
    assert np.isnan(percentile_ranks(np.array([1.0, nan]))).all()


def keys(cards):
    return [card.key for card in cards]


def test_best_and_worst_share_no_image(one):
    choice = Choice(one)
    assert choice.metric.name == "clips"
    assert keys(choice.ranked) == ["k1", "k4", "k3", "k2"]  # k5 has no value
    assert keys(choice.best(12)) == ["k1", "k4"]
    assert keys(choice.worst(12)) == ["k2", "k3"]
    assert keys(choice.best(1)) == ["k1"]
    assert keys(choice.worst(1)) == ["k2"]


def test_the_ranking_metric_can_be_named(one):
    choice = Choice(one, "cider")
    assert keys(choice.best(9)) == ["k2", "k4", "k3"]
    assert keys(choice.worst(9)) == ["k5", "k1"]
    with pytest.raises(InputError, match="no metric 'spice' with a value per caption; there are clips, cider"):
        Choice(one, "spice")


def test_less_can_be_better():
    choice = Choice(Results([system(repetition=REPETITION)]))
    assert keys(choice.best(9)) == ["k1", "k3", "k5"]
    assert keys(choice.worst(9)) == ["k2", "k4"]


def test_metrics_dispute_by_percentile_rank(one):
    """clips ranks k1 to k4 1, 0, 1/3, 2/3 among four; cider 1/4, 1, 1/2, 3/4 among five."""
    found = Choice(one).disputed_by_metrics(9)
    assert keys(found) == ["k2", "k1", "k3", "k4"]
    assert [card.marked.dispute for card in found] == pytest.approx([1.0, 0.75, 1 / 6, 1 / 12], rel=1e-12)
    assert found[0].note == "CIDEr puts it above 100% of the captions, CLIP-S above 0%"
    assert found[1].note == "CLIP-S puts it above 100% of the captions, CIDEr above 25%"
    assert keys(Choice(one).disputed_by_metrics(1)) == ["k2"]
    assert Choice(one).disputed_by_systems(9) == []


def test_a_direction_turns_the_ranks_round():
    metrics = {"clips": [0.9, 0.8, 0.1], "repetition": [0.0, 0.1, 0.5]}
    assert Choice(Results([system(keys=KEYS[:3], **metrics)])).disputed_by_metrics(9) == []


def test_systems_dispute_by_the_difference_on_one_image(two):
    choice = Choice(two)
    found = choice.disputed_by_systems(9)
    assert keys(found) == ["k1", "k2"]  # k3 and k5 have one system each
    assert found[0].note == "CLIP-S: rl 0.9000, xe 0.1000"
    assert [(x.system, x.caption) for x in found[0].lines] == [("xe", "xe tells k1"), ("rl", "rl tells k1")]
    assert keys(choice.ranked) == ["k5", "k2", "k1", "k3"]  # means 0.7, 0.55, 0.5 and 0.5


def test_several_captions_of_one_image_count_by_their_mean():
    found = Choice(Results([system(keys=["a", "a", "b"], clips=[0.1, 0.9, 0.6])]))
    assert keys(found.ranked) == ["b", "a"]
    assert [len(card.lines) for card in found.ranked] == [1, 2]


def test_a_family_ranks_by_its_main_member():
    scores = capreward.score(["a dog runs", "a red cat"], [["a dog runs fast"], ["the cat"]], metrics="bleu,rouge")
    assert Choice(Results([SystemResult("one", scores, {}, 2)])).metric.name == "bleu4"


def test_without_values_per_caption():
    nothing = Score("vocabulary", 12.0, Signature.of("vocabulary"), higher_is_better=None)
    results = Results([SystemResult("one", Scores([nothing], keys=["a"], captions=["x"]), {}, 1)])
    with pytest.raises(InputError, match="a gallery needs a metric with a value per caption"):
        Choice(results)


def picture_of(key):
    """k1 a photo, k2 a drawing, k3 not there, k4 broken, any other grey."""
    if key == "k3":
        return None
    if key == "k4":
        raise InputError("k4.jpg is cut short")
    return Image.new("RGB", (64, 48) if key == "k2" else (640, 480), (200, 30, 60))


def page(tmp_path, results, *arguments, **options):
    path = tmp_path / "gallery.html"
    shown = write_gallery(path, results, picture_of, *arguments, **options)
    text = path.read_text(encoding="utf-8")
    return shown, text, Reader(text)


def test_the_page_is_whole(tmp_path, one):
    shown, text, reader = page(tmp_path, one, {"k1": ["a dog", "the dog"], "k2": ["one"]})
    assert shown == 4
    assert text.startswith("<!DOCTYPE html>\n")
    assert reader.all("html") == [{"lang": "en"}]
    assert "<title>Captions of one</title>" in text
    assert [s["id"] for s in reader.all("section")] == ["best", "worst", "disputed-metrics"]
    assert [a["href"] for a in reader.all("a")] == ["#best", "#worst", "#disputed-metrics"]
    assert len(reader.all("article")) == 2 + 2 + 4
    assert text.count('<div class="picture none">') == 4  # k3 and k4, twice each
    assert [i["alt"] for i in reader.all("img")] == ["image k1", "image k2", "image k2", "image k1"]
    words = " ".join(" ".join(reader.text).split())
    assert "5 captions of 5 images, ranked by CLIP-S ." in words
    assert "2 references a dog the dog" in words
    assert "1 reference one" in words
    assert words.count("clips|w:2.5") == words.count("cider|w:2.5") == 1
    assert "one tells k1 CLIP-S 0.9000 CIDEr 0.2000" in words
    assert 'title="better than 100% of the captions"' in text
    assert 'style="width:25.0%"' in text


def test_the_page_loads_nothing(tmp_path, two):
    _, text, reader = page(tmp_path, two)
    assert not re.search(r"(?:https?:|file:|url\(|@import|<script|javascript)", text)
    assert all(i["src"].startswith("data:image/") for i in reader.all("img"))
    assert [m["content"] for m in reader.all("meta") if "http-equiv" in m] == [
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    ]
    assert [s["id"] for s in reader.all("section")] == ["best", "worst", "disputed-systems"]
    assert [p.name for p in tmp_path.iterdir()] == ["gallery.html"]


def test_text_cannot_break_out(tmp_path):
    evil = '"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'
    results = Results([system(evil, ["k1", evil], [evil, ""], clips=[0.5, 0.1])], notes=[evil])
    reader = page(tmp_path, results, {"k1": [evil], evil: [evil]})[2]
    assert reader.all("script") == []
    assert all(set(i) == {"src", "width", "height", "alt"} for i in reader.all("img"))
    assert "onerror" not in {name for _, attributes in reader.elements for name in attributes}
    assert reader.all("img")[1]["alt"] == f"image {evil}"
    assert (
        sum(evil in text for text in reader.text) == 8
    )  # title, heading, table, caption, note, key and two references
    assert "no words" in reader.text
    both = Results([system(evil, clips=CLIPS), system("other", clips=CIDER)])
    assert page(tmp_path, both)[2].all("script") == []


def test_a_caption_is_no_template_and_is_escaped_once(tmp_path):
    results = Results([system(TEMPLATE, ["a", "b"], [TEMPLATE, "x"], clips=[0.5, 0.1])], notes=[TEMPLATE])
    _, text, reader = page(tmp_path, results, {"a": [TEMPLATE]})
    assert reader.text.count(TEMPLATE) == 4  # in the table, as a caption, a reference and a note
    assert reader.text.count(f"Captions of {TEMPLATE}") == 2
    assert text.count("{{ 7*7 }} {% if %} {# c #} &lt;script&gt;") == 6
    assert "&amp;lt;" not in text
    assert "49" not in " ".join(reader.text)


def test_a_misspelt_name_in_a_template_is_an_error():
    """It would leave an empty place in the page without anybody noticing."""
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError, match="has no attribute 'title'"):
        render("page.html", {"page": SimpleNamespace(links=[], results=None)})


def test_a_style_sheet_is_no_template(tmp_path, one):
    """Every rule reaches the page as it stands in its file."""
    sheet = (Path(capreward.__file__).parent / "reports/templates/page.css").read_text(encoding="utf-8")
    assert sheet in page(tmp_path, one)[1]


def test_odd_characters_do_not_cost_the_page(tmp_path):
    results = Results([system("x", ["a", "b"], ["half a pair \ud83d here", "שלום"], clips=[0.5, 0.1])])
    reader = page(tmp_path, results)[2]
    assert "half a pair ? here" in reader.text
    assert "שלום" in reader.text
    assert {"class": "caption", "dir": "auto"} in reader.all("p")


def opened(found):
    assert found.uri.startswith("data:image/")
    return Image.open(io.BytesIO(base64.b64decode(found.uri.partition("base64,")[2])))


def test_photos_become_small_jpegs():
    found = thumbnail(Image.new("RGB", (1000, 500), (200, 30, 60)))
    image = opened(found)
    assert (image.format, image.size, found.width, found.height, found.drawn) == ("JPEG", (256, 128), 256, 128, False)
    assert np.abs(np.asarray(image, dtype=int) - (200, 30, 60)).max() <= 3


def test_drawings_stay_exact_and_grow_by_a_whole_factor():
    pixels = np.random.default_rng(0).integers(0, 256, (60, 40, 3), dtype=np.uint8)
    found = thumbnail(Image.fromarray(pixels))
    assert (found.width, found.height, found.drawn) == (160, 240, True)
    assert np.array_equal(np.asarray(opened(found)), pixels)
    tiny = thumbnail(Image.new("L", (1, 1), 7))
    assert (tiny.width, tiny.height) == (256, 256)


def test_transparent_and_rotated_pictures():
    clear = Image.new("RGBA", (20, 10), (0, 0, 0, 0))
    assert opened(thumbnail(clear)).getpixel((3, 3)) == (255, 255, 255)
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.new("CMYK", (300, 200)).save(buffer, "JPEG", exif=exif)
    turned = thumbnail(Image.open(buffer))
    assert (turned.width, turned.height) == (171, 256)
    assert opened(turned).mode == "RGB"
    assert not opened(turned).getexif()


def test_the_picture_given_stays_as_it_is():
    image = Image.new("RGB", (300, 300))
    deep = Image.fromarray(np.full((9, 9), 65535 // 2, dtype=np.uint16))
    thumbnail(image)
    assert image.size == (300, 300)
    assert opened(thumbnail(deep)).getpixel((4, 4)) == (127, 127, 127)  # 16 bits are not clipped at 255


def test_a_picture_that_cannot_be_decoded(tmp_path, one):
    buffer = io.BytesIO()
    Image.effect_noise((300, 300), 60).save(buffer, "JPEG")
    cut = buffer.getvalue()[: len(buffer.getvalue()) // 2]
    with pytest.raises(InputError, match="is damaged"):
        thumbnail(Image.open(io.BytesIO(cut)))
    path = tmp_path / "gallery.html"
    assert write_gallery(path, one, lambda key: Image.open(io.BytesIO(cut))) == 4
    assert "<img" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name, sentence", [("a.pdf", "must end in .html"), ("no/a.html", "there is no folder")])
def test_a_path_that_cannot_be_written(tmp_path, one, name, sentence):
    with pytest.raises(InputError, match=sentence):
        write_gallery(tmp_path / name, one, picture_of)


def test_count(tmp_path, one):
    assert page(tmp_path, one, count=1)[0] == 2
    with pytest.raises(InputError, match="count of 1 or more; found 0"):
        write_gallery(tmp_path / "a.html", one, picture_of, count=0)


def test_real_photos(tmp_path, shared_data):
    """A real caption file and real photos: what the page shows is what was scored."""
    import json

    folder = shared_data / "coco_photos"
    rows = json.loads((folder / "captions.json").read_text())[:20]
    files = {str(r["image_id"]): folder / "images" / r["file"] for r in rows}
    captions = {str(r["image_id"]): r["captions"][0] for r in rows}
    references = {str(r["image_id"]): r["captions"][1:] for r in rows}
    scores = capreward.score(captions, references, metrics="cider,rouge")
    path = tmp_path / "gallery.html"
    results = Results([SystemResult("human", scores, {}, 20)])
    shown = write_gallery(path, results, lambda key: Image.open(files[key]), references, count=3)
    reader = Reader(path.read_text(encoding="utf-8"))
    best = scores.caption_keys[int(np.argmax(scores["cider"].per_caption))]
    assert reader.all("img")[0]["alt"] == f"image {best}"
    assert captions[best] in reader.text
    assert len(reader.all("img")) == 9
    assert 6 <= shown <= 9
    assert path.stat().st_size < 9 * 40_000
