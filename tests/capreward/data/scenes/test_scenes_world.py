"""The scenes world: the same pictures everywhere, splits that differ, and relations that the pixels show."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys

import numpy as np
import pytest

from capreward import InputError
from capreward.data.scenes import Scene, ScenePicture, picture_of, scene
from capreward.data.scenes.layout import Group, relations_between
from capreward.data.scenes.pictures import draw
from capreward.data.scenes.splits import COLOURS_OF, SPLITS, random_stream, reserved_split
from capreward.data.scenes.sprites import coverage
from capreward.data.scenes.vocabulary import COLOUR_NAMES, CONVERSE, KIND_NAMES, LIGHT_NAMES, PLACE_NAMES

# The first 16 digits of the SHA-256 of the picture and of its first redrawing.
GOLDEN = {
    ("train", 0, 0): ("e2a68a82c263cc01", "1e4ab0eeed80b9fc"),
    ("val", 3, 0): ("699f5944f743db2f", "fe0a0da49c616685"),
    ("test", 123, 0): ("4b0d95ede91badc6", "70fb2ac5e65b32fb"),
    ("test", 7, 7): ("7cbcdf9de5934f65", "f3daae2ea5dfbda7"),
    ("train", 2**32 - 1, 1): ("5a8e405f0dc9864f", "612e1c14dd54cfd4"),
}
MANY = 1500


@pytest.fixture(scope="module")
def scenes():
    return {split: [scene(split, i) for i in range(MANY)] for split in SPLITS}


def digest(pixels):
    return hashlib.sha256(pixels.tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("name", GOLDEN, ids=str)
def test_pictures_are_the_same_bits_everywhere(name):
    found = scene(*name)
    assert (digest(found.draw()), digest(found.redraw(1))) == GOLDEN[name]
    assert found.draw().shape == (64, 64, 3)
    assert found.draw().dtype == np.uint8


def test_the_first_scene_is_what_it_was():
    first = scene("train", 0)
    assert (first.place, first.light) == ("desert", "fog")
    house, kite = first.objects
    assert house[:5] == ("house", "white", "striped", "small", 3)
    assert kite[:5] == ("kite", "pink", "plain", "small", 1)
    assert [tuple(r) for r in first.relations] == [("above", 1, 0)]
    assert kite.box == (43, 13, 57, 27)


def test_a_picture_owes_nothing_to_those_before_it():
    alone = "from capreward.data.scenes import scene; import hashlib; print(hashlib.sha256(scene('test', 123).draw().tobytes()).hexdigest()[:16])"
    found = subprocess.run([sys.executable, "-c", alone], capture_output=True, text=True, check=True).stdout.strip()
    assert found == GOLDEN["test", 123, 0][0]


def test_neither_torch_nor_pillow_is_imported():
    code = "import sys, capreward.data.scenes as s; s.scene('val', 1).draw(); print([m for m in ('torch', 'PIL') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_splits_reserve_combinations(scenes):
    """Train shows no reserved combination; val and test one of their own at least and none of each other's."""
    owners = {s: [{reserved_split(g.kind, g.colour) for g in x.objects} for x in found] for s, found in scenes.items()}
    assert all(found == {"train"} for found in owners["train"])
    assert all("val" in found and "test" not in found for found in owners["val"])
    assert all("test" in found and "val" not in found for found in owners["test"])


def test_every_kind_and_colour_occurs_in_training():
    for split in ("val", "test"):
        assert all(len(COLOURS_OF[split, kind]) == 1 for kind in KIND_NAMES)
        colours = [COLOURS_OF[split, kind][0] for kind in KIND_NAMES]
        assert {c: colours.count(c) for c in COLOUR_NAMES} == dict.fromkeys(COLOUR_NAMES, 2)
    assert all(len(COLOURS_OF["train", kind]) == 7 for kind in KIND_NAMES)


def test_everything_there_is_occurs(scenes):
    groups = [g for x in scenes["train"] for g in x.objects]
    assert {x.place for x in scenes["train"]} == set(PLACE_NAMES)
    assert {x.light for x in scenes["train"]} == set(LIGHT_NAMES)
    assert {g.kind for g in groups} == set(KIND_NAMES)
    assert {g.colour for g in groups} == set(COLOUR_NAMES)
    assert {(g.size, g.number) for g in groups} == {(s, n) for s in ("small", "large") for n in (1, 2, 3)}
    assert {len(x.objects) for x in scenes["train"]} == {1, 2, 3, 4}
    assert {r.name for x in scenes["train"] for r in x.relations} == {
        "left",
        "right",
        "above",
        "below",
        "near",
        "front",
    }
    assert all(len({g.kind for g in x.objects}) == len(x.objects) for x in scenes["train"])
    assert not any(x.place == "room" and x.light == "fog" for x in scenes["train"])


def without(content, number):
    order = tuple(i for i in content.order if i != number)
    return content._replace(order=order)


def shown(content, number):
    """Where a group shows in the picture, [64, 64]."""
    return (draw(content) != draw(without(content, number))).any(axis=2)


def hides(content, a, b):
    """Whether group a hides part of b: there the picture is as it is without b, and else as it is without a."""
    pair = {a: b, b: a}
    other_way = content._replace(order=tuple(pair.get(i, i) for i in content.order))
    picture, turned = draw(content), draw(other_way)
    matters = (picture != turned).any(axis=2)
    if not matters.any():
        return False
    seen = [(p == draw(without(content, gone))).all(axis=2)[matters].mean() for p, gone in ((picture, b), (turned, a))]
    return min(seen) > 0.2


def test_relations_hold_in_the_pixels(scenes):
    """Left and the like: every pixel of one group lies beyond every pixel of the other; front: it hides some of it."""
    seen = dict.fromkeys(CONVERSE, 0)
    for x in scenes["test"][:500]:
        n = len(x.objects)
        places = [np.nonzero(shown(x.content, i)) for i in range(n)]
        for a, b in [(a, b) for a in range(n) for b in range(n) if a != b]:
            (ya, xa), (yb, xb) = places[a], places[b]
            names = x.content.holding(a, b)
            assert names
            beyond = {"left": xa.max() < xb.min(), "right": xa.min() > xb.max()}
            beyond |= {"above": ya.max() < yb.min(), "below": ya.min() > yb.max()}
            for name in names:
                seen[name] += 1
                assert beyond.get(name, True), (x.key, name, a, b)
                assert CONVERSE[name] in x.content.holding(b, a)
            if names != ["behind"]:
                assert hides(x.content, a, b) == ("front" in names), x.key
    assert min(seen.values()) > 20


def test_no_object_hides_more_than_the_lesser_half_of_another(scenes):
    for x in scenes["train"]:
        if len(x.objects) > 1 and x.relations[0].name == "front":
            visible, whole = shown(x.content, 0).sum(), shown(without(x.content, 1), 0).sum()
            assert 0.5 < visible / whole < 0.97, x.key


def test_near_is_beside_and_close():
    group = Group("ball", "red", "plain", "small", 1, 12, ((10, 10),), (False,))
    beside = {gap: relations_between(group, group.moved(12 + gap, 0), False) for gap in (2, 8, 9)}
    assert beside == {2: ["left", "near"], 8: ["left", "near"], 9: ["left"]}
    assert relations_between(group, group.moved(14, 6), False) == ["left", "near"]
    assert relations_between(group, group.moved(14, 7), False) == ["left"]
    assert relations_between(group, group.moved(0, -14), False) == ["below"]
    assert relations_between(group, group.moved(0, 13), False) == ["behind"]
    assert relations_between(group, group.moved(0, 13), True) == ["front"]


def test_sizes_counts_and_bounds(scenes):
    for x in scenes["val"]:
        for g in x.objects:
            assert g.pixels in ((12, 13, 14) if g.size == "small" else (22, 23, 24, 25))
            assert len(g.corners) == len(g.flips) == g.number
            left, top, right, bottom = g.box
            assert left >= 0 and top >= 0 and right <= 64 and bottom <= 64  # noqa: PT018


def test_redrawing_keeps_the_facts(scenes):
    """Every redrawing differs from the picture, and each relation holds in its pixels too."""
    from capreward.data.scenes import pictures as module

    drawn = []

    def recording(content, groups, variant):
        drawn.append(groups)
        return original(content, groups, variant)

    original = module._draw_groups
    for x in scenes["train"][:200]:
        content = x.content
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_draw_groups", recording)
            pictures = [x.redraw(v) for v in range(1, 6)]
        assert len({p.tobytes() for p in [x.draw(), *pictures]}) == 6
        for groups in drawn[-5:]:
            moved = content._replace(groups=groups)
            for a in range(len(groups)):
                assert groups[a][:6] == content.groups[a][:6]
                assert min(groups[a].box) >= 0
                assert max(groups[a].box) <= 64
                for b in range(a):
                    (ax0, ay0, ax1, ay1), (bx0, by0, bx1, by1) = groups[a].box, groups[b].box
                    still = {"left": ax1 <= bx0, "right": bx1 <= ax0, "above": ay1 <= by0, "below": by1 <= ay0}
                    assert all(still.get(name, True) for name in content.holding(a, b))
                    if "front" in content.holding(a, b):
                        assert moved.holding(a, b) == ["front"]
    np.testing.assert_array_equal(scenes["train"][0].redraw(0), scenes["train"][0].draw())


def test_textures_and_mirroring_show():
    plain = coverage("ball", "plain", 24, False)
    striped = {t: coverage("ball", t, 24, False)[:, 4].sum() / plain.sum() for t in ("striped", "dotted", "checked")}
    assert striped == pytest.approx({"striped": 0.3243, "dotted": 0.2382, "checked": 0.4090}, abs=1e-4)
    mirrored = coverage("fish", "plain", 24, True).reshape(24, 24, -1)
    np.testing.assert_array_equal(mirrored[:, ::-1], coverage("fish", "plain", 24, False).reshape(24, 24, -1))
    assert plain.sum(axis=1).max() == 16


def test_keys_name_pictures():
    assert scene("test", 123).key == "scenes-test-000123"
    assert scene("val", 1234567, 7).key == "scenes-val-1234567-s7"
    for name in ("scenes-test-000123", "scenes-val-1234567-s7"):
        assert picture_of(name).key == name
        assert str(picture_of(name)) == name
    assert picture_of("scenes-test-000123") == ScenePicture("test", 123)
    strangers = ["scenes-test-123", "scenes-test-0000123", "scenes-dev-000123", "scenes-test-000123-s0", "42", ""]
    strangers += ["scenes-test-000123.png", "scenes-test-4294967296", "scenes-test-000001-s4294967296"]
    assert [picture_of(s) for s in strangers] == [None] * len(strangers)


def test_a_scene_picture_is_a_picture():
    picture = ScenePicture("test", 123)
    image = picture.open()
    assert (image.mode, image.size) == ("RGB", (64, 64))
    assert digest(np.asarray(image)) == GOLDEN["test", 123, 0][0]
    assert len({picture, ScenePicture("test", 123), ScenePicture("test", 124)}) == 2
    assert len(pickle.dumps(picture)) < 200
    assert pickle.loads(pickle.dumps(picture)).scene == Scene("test", 123)


@pytest.mark.parametrize(
    "wrong, sentence",
    [
        (("dev", 0), "scenes has the splits train, val and test; found 'dev'"),
        (("test", -1), "scenes takes a seed, index and variant from 0 to 2**32 - 1; found -1"),
        (("test", 0, 2**32), "scenes takes a seed, index and variant from 0 to 2**32 - 1; found 4294967296"),
    ],
)
def test_what_is_no_scene(wrong, sentence):
    with pytest.raises(InputError) as error:
        scene(*wrong)
    assert str(error.value) == sentence


def test_streams_differ():
    lots = {
        random_stream(*a).random()
        for a in [
            ("train", 0, 0, 0),
            ("val", 0, 0, 0),
            ("train", 1, 0, 0),
            ("train", 0, 1, 0),
            ("train", 0, 0, 1),
            ("train", 0, 0, 1, 1),
        ]
    }
    assert len(lots) == 6
    assert random_stream("train", 0, 0, 0).random() == random_stream("train", 0, 0, 0).random()
