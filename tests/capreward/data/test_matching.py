"""Ids of two files meet whatever way they are written, and only if that is unambiguous."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capreward.data.captions import CaptionTable, References
from capreward.data.image_ids import IdIndex, id_number, stem
from capreward.data.reference_match import match
from capreward.errors import InputError


def table(*pairs, aliases=None, aligned=False):
    keys, captions = [key for key, _ in pairs], [caption for _, caption in pairs]
    return CaptionTable("c.json", "dict", keys, captions, range(1, len(pairs) + 1), "row", aliases or {}, aligned)


def refs(references, aliases=None, aligned=False, notes=()):
    return References("r.json", "dict", references, aliases or {}, aligned, notes)


def check_refused(candidates, references, *parts, **options):
    with pytest.raises(InputError) as caught:
        match(candidates, references, **options)
    message = str(caught.value)
    assert [part for part in parts if part not in message] == [], message


@pytest.mark.parametrize(
    "key, name, digits",
    [
        ("42", "42", "42"),
        ("42.0", "42.0", "42"),
        ("000000000042", "000000000042", "42"),
        ("0", "0", "0"),
        ("000", "000", "0"),
        ("000000000042.jpg", "000000000042", "42"),
        ("images/000000000042.JPEG", "000000000042", "42"),
        (r"C:\images\42.png", "42", "42"),
        ("COCO_val2014_000000000042.jpg", "COCO_val2014_000000000042", "42"),
        ("COCO_train2014_000000000042", "COCO_train2014_000000000042", "42"),
        ("177828__COCO_train2014_000000379613", "177828__COCO_train2014_000000379613", "379613"),
        ("1000268201_693b08cb0e.jpg", "1000268201_693b08cb0e", None),
        ("2258277193_586949ec62.jpg.1", "2258277193_586949ec62.jpg.1", None),
        ("v1.5", "v1.5", None),
        (".jpg", ".jpg", None),
        ("٤٢", "٤٢", None),
        ("-42", "-42", None),
    ],
)
def test_forms_of_an_id(key, name, digits):
    assert (stem(key), id_number(key)) == (name, digits)


FORMS = ["42", "000000000042", "000000000042.jpg", "COCO_val2014_000000000042.jpg", "images/000000000042.jpg", "42.png"]


@pytest.mark.parametrize("left", FORMS)
@pytest.mark.parametrize("right", FORMS)
def test_every_form_meets_every_other(left, right):
    matched = match(table((left, "a dog"), ("7", "a cat")), refs({"7": ["x"], right: ["y", "z"]}))
    assert matched.references == [["y", "z"], ["x"]]
    assert (matched.keys, matched.item) == ([left, "7"], [0, 1])


@given(st.lists(st.integers(0, 10**9), min_size=1, unique=True), st.randoms())
def test_numbers_meet_in_any_order(numbers, random):
    shuffled = random.sample(numbers, len(numbers))
    matched = match(
        table(*((f"COCO_val2014_{n:012}.jpg", str(n)) for n in numbers)), refs({str(n): [str(n)] for n in shuffled})
    )
    assert [texts[0] for texts in matched.references] == matched.captions == [str(n) for n in numbers]
    count = f"{len(numbers):,}"
    assert matched.report == f"{count} of {count} images matched (ids matched as numbers)"


def test_report_says_how():
    references = refs({"1": ["a"], "x.jpg": ["b"], "00003": ["c"], "9": ["unused"]})
    report = match(table(("1", "a"), ("x", "b"), ("3", "c")), references).report
    how, rest = "1 exactly, 1 as file names, 1 as numbers", "1 with references have no caption"
    assert report == f"3 of 4 images matched (ids matched {how}); {rest}"
    assert match(table(("1", "a")), refs({"1": ["b"]})).report == "1 of 1 images matched (ids matched exactly)"


def test_aliases_of_either_side():
    named = refs({"7": ["seven"], "8": ["eight"]}, {"dog.jpg": "7", "folder/cat.jpg": "8"})
    matched = match(table(("dog.jpg", "a"), ("cat", "b")), named)
    assert matched.references == [["seven"], ["eight"]]
    assert "(ids matched as file names)" in matched.report
    own = table(("0", "a"), ("1", "b"), aliases={"d/dog.jpg": "0", "cat.jpg": "1"})
    assert match(own, refs({"cat": ["c"], "dog": ["d"]})).references == [["d"], ["c"]]


def test_an_alias_of_an_absent_id_finds_nothing():
    assert IdIndex(["1"], {"a.jpg": "2"}, "r").find("a.jpg") is None


def test_exact_ids_win_over_ambiguous_forms():
    references = refs({"42": ["plain"], "042": ["padded"]})
    assert match(table(("042", "a")), references).references == [["padded"]]
    check_refused(table(("0042", "a")), references, 'r.json has both "42" and "042"', '"0042" could mean either')


def test_folders_with_equal_names_are_ambiguous():
    references = refs({"train/1.jpg": ["a"], "val/1.jpg": ["b"]})
    assert match(table(("val/1.jpg", "c")), references).references == [["b"]]
    check_refused(table(("1.jpg", "c")), references, 'both "train/1.jpg" and "val/1.jpg"')


def test_two_candidates_for_one_image():
    check_refused(
        table(("42", "a"), ("042", "b")), refs({"42": ["x"]}), 'c.json has both "42" and "042"', 'match "42" of r.json'
    )


def test_repeated_ids():
    one = table(("1", "a"), ("2", "b"), ("1", "c"))
    check_refused(one, None, "c.json has 2 captions for id 1 (rows 1, 3)", "--multiple")
    check_refused(
        table(("1", "a"), ("1", "c"), ("2", "b"), ("2", "d")), None, "id 1 (rows 1, 2), and 1 other id repeats too"
    )
    matched = match(one, refs({"2": ["y"], "1": ["x"]}), multiple=True)
    assert (matched.keys, matched.item) == (["1", "2"], [0, 1, 0])
    assert matched.references == [["x"], ["y"]]
    listed = CaptionTable("c.json", "dict", ["k", "k"], ["a", "b"], [4, 4], "entry")
    check_refused(listed, None, "2 captions for id k (entry 4); keep")


def test_missing_references():
    candidates = table(*((str(key), f"caption {key}") for key in range(1, 8)))
    references = refs({"2": ["two"], "5": ["five"], "7": []})
    check_refused(
        candidates, references, "r.json has no references for 5 images of c.json: 1, 3, 4 and 2 more",
        "pass --allow-missing to score the 2 that match",
    )  # fmt: skip
    matched = match(candidates, references, allow_missing=True)
    assert (matched.keys, matched.captions, matched.item) == (["2", "5"], ["caption 2", "caption 5"], [0, 1])
    assert (matched.references, list(matched.rows)) == ([["two"], ["five"]], [1, 4])
    assert matched.report.endswith("; 5 without references left out")
    assert matched.notes == ["5 images without references left out: 1, 3, 4 and 2 more"]


def test_empty_reference_lists():
    candidates = table(("1", "a"), ("2", "b"))
    check_refused(
        candidates,
        refs({"1": ["x"], "2": []}),
        "an empty list of references for 1 image of c.json: 2",
        "--allow-missing",
    )
    check_refused(
        candidates, refs({"1": [], "2": []}), "for 2 images of c.json: 1, 2; add references", allow_missing=True
    )
    assert match(table(("1", "a")), refs({"1": ["x"], "2": []})).references == [["x"]]


@pytest.mark.parametrize("allow", [False, True])
def test_no_overlap_shows_both_files(allow):
    parts = ["none of the ids of c.json is in r.json", 'the first are "dog" and "42"', "--id-column"]
    check_refused(table(("dog", "a")), refs({"42": ["x"]}), *parts, allow_missing=allow)


def test_empty_texts_are_kept_and_noted():
    matched = match(table(("1", ""), ("2", " \n"), ("3", "c")), refs({"1": ["", "x"], "2": ["y"], "3": ["z"]}))
    assert (matched.captions, matched.references[0]) == (["", " \n", "c"], ["", "x"])
    assert matched.notes == [
        "2 captions of c.json are empty; scored as such",
        "1 reference of r.json is empty; kept as such",
    ]


def test_without_references():
    matched = match(table(("1", "a"), ("1", "b"), ("2", "c")), None, multiple=True)
    assert (matched.keys, matched.item, matched.references, matched.notes) == (["1", "2"], [0, 0, 1], [], [])
    assert matched.report == "2 images, 3 captions, no references"


def test_aligned_files():
    lines = table(("1", "a"), ("2", "b"), aligned=True)
    matched = match(lines, refs({"1": ["x"], "2": ["y"]}, aligned=True, notes=("a note",)))
    assert (matched.references, matched.notes) == ([["x"], ["y"]], ["a note"])
    check_refused(lines, refs({"1": ["x"]}, aligned=True), "c.json has 2 lines and r.json has 1", "line n")
    check_refused(lines, refs({"1": ["x"], "2": ["y"]}), "c.json has no ids, only lines in order, while r.json has ids")
    check_refused(
        table(("1", "a")), refs({"1": ["x"]}, aligned=True), "r.json has no ids, only lines in order, while c.json"
    )
