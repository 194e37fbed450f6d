"""``capreward score`` with images: one number through every way in, and one sentence for what cannot be used."""

from __future__ import annotations

import csv
import json
import shutil
import tarfile

import pytest
from click.testing import CliRunner
from clip_helpers import small_model, write_folder
from PIL import Image

import capreward
from capreward.commands import main

EXAMPLES = ("clipscore_example", "pacscore_example")


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def values(*arguments):
    """Metric to value, and the notes, of the first system."""
    done = run("score", *arguments, "--json", "--quiet", "--resamples", 0)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    return {name: row["value"] for name, row in found["systems"][0]["scores"].items()}, found["notes"]


def refused(*arguments):
    done = run("score", *arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    return done.stderr.removeprefix("Error: ").strip()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("weights") / "small", small_model())


@pytest.fixture
def photos(tmp_path):
    """Three pictures with captions and references."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, colour in enumerate(("red", "green", "blue")):
        picture = Image.radial_gradient("L").resize((60 + 10 * i, 50)).convert("RGB")
        Image.blend(picture, Image.new("RGB", picture.size, colour), 0.5).save(folder / f"COCO_val2014_{i + 1:012}.jpg")
    captions = {"1": "a red circle", "2": "a green circle", "3": "a blue circle"}
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    (tmp_path / "refs.json").write_text(json.dumps({k: [f"{v} fades", "a circle"] for k, v in captions.items()}))
    return tmp_path


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_of_the_original_repositories_score_alike_by_every_way_in(example, shared_data, weights, tmp_path):
    folder = shared_data / "photos_examples" / example
    captions = json.loads((folder / "good_captions.json").read_text(encoding="utf-8"))
    metrics = f"clips(checkpoint='{weights}'), refclips(checkpoint='{weights}'), pacs(checkpoint='{weights}')"
    references = ["-r", folder / "refs.json", "-m", metrics]
    by_folder, _ = values(folder / "good_captions.json", "--images", folder / "images", *references)

    pictures = {p.stem: p for p in (folder / "images").iterdir()}
    table = tmp_path / "captions.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "photo", "caption"])
        writer.writerows([key, pictures[key], caption] for key, caption in captions.items())
    by_column, _ = values(table, "--image-column", "photo", *references)

    shard = tmp_path / "shard.tar"
    with tarfile.open(shard, "w") as archive:
        for key, caption in captions.items():
            archive.add(pictures[key], f"{key}.jpg")
            text = tmp_path / f"{key}.txt"
            text.write_text(caption)
            archive.add(text, f"{key}.txt")
    by_shard, _ = values(shard, *references)
    by_both, _ = values(folder / "good_captions.json", "--images", shard, *references)

    store = tmp_path / "features"
    done = run("embed", folder / "images", "-o", store, "--checkpoint", weights, "-q")
    assert done.exit_code == 0, done.output
    by_store, _ = values(folder / "good_captions.json", "--images", store, *references)

    assert by_column == by_shard == by_both == by_folder
    assert by_store == pytest.approx(by_folder, abs=1e-6)
    python = capreward.score(
        list(captions.values()),
        [json.loads((folder / "refs.json").read_text(encoding="utf-8"))[k] for k in captions],
        images=[Image.open(pictures[k]) for k in captions],
        metrics=metrics,
    )
    assert {s.name: s.value for s in python.columns()} == pytest.approx(by_folder, abs=1e-12)


def test_references_and_images_decide_what_is_computed(photos, weights, monkeypatch):
    monkeypatch.setenv("CAPREWARD_WEIGHTS", str(photos))
    shutil.copytree(weights, photos / "ViT-B-32")
    folder = photos / "photos"
    found, _ = values(photos / "captions.json", "--images", folder)
    assert list(found) == ["clips"]
    found, _ = values(photos / "captions.json", "-i", folder, "-r", photos / "refs.json")
    assert list(found) == ["bleu1", "bleu2", "bleu3", "bleu4", "rouge", "cider", "clips", "refclips"]


def test_one_evaluator_with_two_checkpoints_is_two_columns(photos, weights, tmp_path):
    other = write_folder(tmp_path / "other", small_model(seed=1))
    metrics = f"clips(checkpoint='{weights}'), clips(checkpoint='{other}')"
    found, _ = values(photos / "captions.json", "-i", photos / "photos", "-m", metrics)
    assert list(found) == [f"clips(checkpoint={weights})", f"clips(checkpoint={other})"]
    alone, _ = values(photos / "captions.json", "-i", photos / "photos", "-m", f"clips(checkpoint='{other}')")
    assert found[f"clips(checkpoint={other})"] == alone["clips"]
    twice = f"clips(checkpoint='{weights}'), clips(checkpoint='{weights}')"
    assert "asked for twice" in refused(photos / "captions.json", "-i", photos / "photos", "-m", twice)


def test_text_and_image_metrics_combine(photos, weights):
    metrics = f"2*clips(checkpoint='{weights}') + rouge - repetition"
    found, _ = values(photos / "captions.json", "-i", photos / "photos", "-r", photos / "refs.json", "-m", metrics)
    parts = [value for name, value in found.items() if not name.startswith("2*")]
    assert found.pop(next(iter(found))) == pytest.approx(2 * parts[0] + parts[1] - parts[2], abs=1e-12)


def test_broken_pictures_are_named_and_only_skipped_when_asked(photos, weights):
    (photos / "photos" / "COCO_val2014_000000000002.jpg").write_text("<html>not found</html>")
    given = [photos / "captions.json", "-i", photos / "photos", "-m", f"clips(checkpoint='{weights}'),repetition"]
    sentence = refused(*given)
    assert "COCO_val2014_000000000002.jpg" in sentence
    assert "--skip-broken" in sentence
    found, notes = values(*given, "--skip-broken")
    assert any("1 broken image skipped" in note and "000000000002.jpg" in note for note in notes)
    kept = [1, 3]
    alone = {str(k): ["", "a red circle", "", "a blue circle"][k] for k in kept}
    (photos / "two.json").write_text(json.dumps(alone))
    expected, _ = values(photos / "two.json", *given[1:])
    assert found["clips"] == pytest.approx(expected["clips"], abs=1e-6)
    assert found["repetition"] == 0.0


def test_missing_pictures_are_counted_and_only_left_out_when_asked(photos, weights):
    (photos / "photos" / "COCO_val2014_000000000002.jpg").unlink()
    given = [photos / "captions.json", "-i", photos / "photos", "-m", f"clips(checkpoint='{weights}')"]
    sentence = refused(*given)
    assert "--allow-missing" in sentence
    assert "2" in sentence
    _, notes = values(*given, "--allow-missing")
    assert any("2" in note for note in notes)


@pytest.mark.parametrize("lost", ["1", "2", "3"])
def test_captions_whose_picture_is_missing_are_left_out_with_their_references(photos, weights, lost):
    (photos / "photos" / f"COCO_val2014_00000000000{lost}.jpg").unlink()
    captions = json.loads((photos / "captions.json").read_text(encoding="utf-8"))
    references = json.loads((photos / "refs.json").read_text(encoding="utf-8"))
    metrics = f"refclips(checkpoint='{weights}'),rouge"
    some = capreward.score(captions, references, images=str(photos / "photos"), metrics=metrics, allow_missing=True)
    del captions[lost]
    expected = capreward.score(captions, references, images=str(photos / "photos"), metrics=metrics)
    assert some.captions == expected.captions
    assert some.caption_keys == expected.caption_keys == sorted(captions)
    for name in ("refclips", "rouge"):
        assert some[name].per_caption.tolist() == pytest.approx(expected[name].per_caption.tolist(), abs=1e-6)


def test_what_is_missing_is_said_in_one_sentence(photos, tmp_path, monkeypatch):
    monkeypatch.setenv("CAPREWARD_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    captions = photos / "captions.json"
    assert "give --images FOLDER" in refused(captions, "-m", "clips")
    sentence = refused(captions, "-i", photos / "photos", "-m", "pacs")
    assert "clip_ViT-B-32.pth" in sentence
    assert "capreward weights add" in sentence
    assert "nowhere" in refused(captions, "-i", photos / "nowhere", "-m", "clips")
    assert "scene" in refused(captions, "-i", "scenes", "-m", "clips")
    sentence = refused(captions, "-i", photos / "photos", "-m", f"clips(checkpoint='{captions}')")
    assert "captions.json" in sentence


def test_a_store_of_another_encoder_is_refused(photos, weights, tmp_path):
    other = write_folder(tmp_path / "other", small_model(seed=1))
    done = run("embed", photos / "photos", "-o", tmp_path / "store", "--checkpoint", other, "-q")
    assert done.exit_code == 0, done.output
    sentence = refused(photos / "captions.json", "-i", tmp_path / "store", "-m", f"clips(checkpoint='{weights}')")
    assert "other" in sentence


def test_the_gallery_shows_the_pictures(photos, weights):
    page = photos / "gallery.html"
    metrics = f"clips(checkpoint='{weights}'),length"
    done = run("score", photos / "captions.json", "-i", photos / "photos", "-m", metrics, "--gallery", page)
    assert done.exit_code == 0, done.output
    assert f"3 images shown in {page}" in done.stderr
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/") >= 3
    assert "a green circle" in text
    assert "http" not in text.replace("http-equiv", "")
    assert "--gallery" in refused(photos / "captions.json", "-m", "length", "--gallery", photos / "page.txt")


def test_a_file_is_never_its_own_reference(photos):
    assert "with --references FILE" in refused(photos / "captions.json", "-m", "rouge")


def test_a_gallery_needs_pictures(photos):
    sentence = refused(photos / "captions.json", "-m", "length", "--gallery", photos / "page.html")
    assert "--gallery shows captions with their pictures; give --images FOLDER" in sentence
    assert not (photos / "page.html").exists()


@pytest.mark.parametrize("more", [[], ["--allow-missing"]])
def test_a_gallery_of_some_pictures_leaves_the_numbers_as_they_are(photos, more):
    (photos / "photos" / "COCO_val2014_000000000002.jpg").unlink()
    given = [photos / "captions.json", "-r", photos / "refs.json", "-m", "cider,bleu4"]
    page = photos / "page.html"
    expected, _ = values(*given)
    found, notes = values(*given, "-i", photos / "photos", "--gallery", page, *more)
    assert found == expected
    assert notes == ["captions: 1 of 3 images have no picture there; they are scored, and not in the gallery"]
    text = page.read_text(encoding="utf-8")
    assert "3 captions of 3 images, 2 of which have pictures, ranked by" in text
    assert text.count("<article>") == 2, "the best and the worst of those with pictures"
    assert "a green circle" not in text
    assert "a red circle" in text
    assert "no picture</p>" not in text
    (photos / "photos" / "COCO_val2014_000000000001.jpg").unlink()
    (photos / "photos" / "COCO_val2014_000000000003.jpg").rename(photos / "photos" / "99.jpg")
    assert "none of the 3 images is in" in refused(*given, "-i", photos / "photos", "--gallery", page)


def test_an_image_metric_still_refuses_missing_pictures_for_the_gallery(photos, weights):
    (photos / "photos" / "COCO_val2014_000000000002.jpg").unlink()
    given = [photos / "captions.json", "-i", photos / "photos", "-m", f"clips(checkpoint='{weights}')"]
    assert "--allow-missing" in refused(*given, "--gallery", photos / "page.html")


def test_without_weights_the_usual_metrics_are_those_of_text(photos, tmp_path, monkeypatch):
    for name in ("CAPREWARD_WEIGHTS", "XDG_CACHE_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    given = [photos / "captions.json", "-i", photos / "photos"]
    found, notes = values(*given, "-r", photos / "refs.json")
    assert list(found) == ["bleu1", "bleu2", "bleu3", "bleu4", "rouge", "cider"]
    assert len(notes) == 1
    assert notes[0].startswith("clips and refclips are left out: clips needs ")
    assert "clips needs ViT-B-32" in refused(*given), "without references there is nothing else to compute"
    assert "clips needs ViT-B-32" in refused(*given, "-r", photos / "refs.json", "-m", "clips")
    python = capreward.score(
        photos / "captions.json", photos / "refs.json", images=photos / "photos", tokenizer="ptb-joined"
    )
    assert python.notes == notes
    assert {s.name: s.value for s in python.columns()} == found
    (photos / "scene.json").write_text(json.dumps({"scenes-test-000003": "a red ball"}))
    found, notes = values(photos / "scene.json", "-i", "scenes", "-r", "scenes")
    assert list(found)[-2:] == ["clips", "refclips"], "the weights of scenes ship"
    assert not any("left out" in note for note in notes)
