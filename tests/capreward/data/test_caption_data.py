"""The published files themselves: counts that their sources state. Set CAPREWARD_DATA to the folder that holds them."""

from collections import Counter

import pytest
from places import DATA

from capreward.data.caption_files import read_captions, read_captions_with_references, read_references
from capreward.data.reference_match import match
from capreward.errors import InputError

KARPATHY = "coco_karpathy_test/captions_karpathy_test5k_cocoformat.json"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no data folder; CAPREWARD_DATA names it")


@pytest.mark.parametrize(
    "name, form, images, captions",
    [
        ("coco_karpathy_test/refs_5000.json", "dict", 5000, 25010),
        (KARPATHY, "coco", 5000, 25010),
        ("coco_val2017_captions/captions_val2017.json", "coco", 5000, 25014),
        ("coco_fakecap_1000/dataset_with_refs.json", "list", 1000, 5005),
        ("coco_photos/captions.json", "list", 107, 535),
        ("flickr8k/Flickr8k.token.txt", "flickr-token", 8092, 40460),
        ("flickr8k/flickr8k.json", "dict", 1000, 5000),
        ("uit_viic/uitviic_captions_train2017.json", "coco", 2695, 13481),
        ("uit_viic/uitviic_captions_val2017.json", "coco", 924, 4620),
        ("uit_viic/uitviic_captions_test2017.json", "coco", 231, 1155),
        ("multi30k/task1/raw/train.de.gz", "text", 29000, 29000),
        ("multi30k/task1/raw/test_2018_flickr.cs.gz", "text", 1071, 1071),
        ("photos_examples/clipscore_example/refs.json", "dict", 2, 6),
        ("photos_examples/pacscore_example/refs.json", "dict", 2, 10),
    ],
)
def test_references(name, form, images, captions):
    read = read_references(DATA / name)
    assert (read.format, len(read), sum(map(len, read.references.values()))) == (form, images, captions)


@pytest.mark.parametrize(
    "name, form, rows",
    [
        ("coco_karpathy_test/outputs/magic_magic.json", "coco-results", 4982),
        ("coco_karpathy_test/outputs/puret_scst_test27.json", "coco-results", 5000),
        ("coco_val2017_captions/degenerate_a_a_a_results.json", "coco-results", 4989),
        ("coco_fakecap_1000/captions_val2014_fakecap_results.json", "coco-results", 1000),
        ("flickr8k/flickr8k.json", "dict", 16992),
        ("flickr8k/Flickr8k.token.txt", "flickr-token", 40460),
        ("photos_examples/pacscore_example/good_captions.json", "dict", 2),
    ],
)
def test_candidates(name, form, rows):
    table = read_captions(DATA / name)
    assert (table.format, len(table)) == (form, rows)


def test_captions_per_image():
    read = read_references(DATA / "coco_karpathy_test" / "refs_5000.json")
    assert Counter(map(len, read.references.values())) == {5: 4990, 6: 10}
    assert read.references == read_references(DATA / KARPATHY).references


@pytest.mark.parametrize("part, images", [("train", 29000), ("val", 1014), ("test_2016", 1000)])
def test_five_aligned_descriptions(part, images):
    for language in ("en", "de"):
        read = read_references([DATA / f"multi30k/task2/raw/{part}.{number}.{language}.gz" for number in range(1, 6)])
        assert (len(read), Counter(map(len, read.references.values()))) == (images, {5: images})


def test_matching_of_results_with_references():
    magic = read_captions(DATA / "coco_karpathy_test" / "outputs" / "magic_magic.json")
    matched = match(magic, read_references(DATA / KARPATHY))
    assert matched.report == ("4,982 of 5,000 images matched (ids matched exactly); 18 with references have no caption")
    assert len(matched.captions) == len(matched.references) == 4982
    val2017 = read_references(DATA / "coco_val2017_captions" / "captions_val2017.json")
    with pytest.raises(InputError, match=r"for 4,390 images .* --allow-missing to score the 592 that match"):
        match(magic, val2017)
    assert len(match(magic, val2017, allow_missing=True).keys) == 592


def test_one_file_with_candidates_and_references_equals_two():
    table, references = read_captions_with_references(DATA / "coco_fakecap_1000" / "dataset_with_refs.json")
    results = read_captions(DATA / "coco_fakecap_1000" / "captions_val2014_fakecap_results.json")
    assert (table.keys, table.captions) == (results.keys, results.captions)
    assert set(references.aliases.values()) == set(table.keys)


def test_flickr8k_ids_with_and_without_endings():
    judged = read_captions(DATA / "flickr8k" / "flickr8k.json")
    token = read_references(DATA / "flickr8k" / "Flickr8k.token.txt")
    matched = match(judged, token, multiple=True)
    assert matched.report.startswith("1,000 of 8,092 images matched (ids matched as file names)")
    own = read_references(DATA / "flickr8k" / "flickr8k.json").references
    wordings = {key: {" ".join(text.lower().split()) for text in own[key]} for key in own}
    shared = [
        wordings[key] & {" ".join(text.lower().split()) for text in texts}
        for key, texts in zip(matched.keys, matched.references, strict=True)
    ]
    assert sum(map(bool, shared)) == 1000


def test_files_that_hold_no_captions():
    for name, part in (
        ("flickr8k/ExpertAnnotations.txt", "without a header row"),
        ("flickr8k/photos_112/test.tar", "it holds .jpg files"),
        ("coco_karpathy_test/outputs/showedittell_xe.published_metrics.json", "holds numbers"),
    ):
        with pytest.raises(InputError, match=part):
            read_captions(DATA / name)
