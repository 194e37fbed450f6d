"""scene-facts and scene-grammar as evaluators: values by hand, sums over a corpus, and what they refuse."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from capreward import InputError, Samples
from capreward.data.scenes import ScenePicture, scene
from capreward.evaluators.scenes import SceneFacts, SceneGrammar

# scene("train", 0): a small pink kite above three small striped white houses in the desert in the fog, 12 facts.
FULL = "a small pink kite above three small striped white houses in the desert in the fog"
CAPTIONS = [
    FULL,
    "a red kite",  # stated: kite, red, one; true: kite, one
    "three houses left of a kite in the snow",  # 2 objects, 1 false relation, 2 counts, a false place
    "",
]
STATISTICS = [  # objects, attributes, relations, counts, setting: stated, true, known, told
    [2, 2, 2, 2, 5, 5, 5, 5, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2],
    [1, 1, 2, 1, 1, 0, 5, 0, 0, 0, 1, 0, 1, 1, 2, 1, 0, 0, 2, 0],
    [2, 2, 2, 2, 0, 0, 5, 0, 1, 0, 1, 0, 2, 2, 2, 2, 1, 0, 2, 0],
    [0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2, 0],
]


def samples(captions=CAPTIONS):
    return Samples(captions, images=[ScenePicture("train", 0)], item=[0] * len(captions))


def test_values_by_hand():
    evaluator = SceneFacts()
    np.testing.assert_array_equal(evaluator.statistics(samples(), evaluator.prepare(samples())), STATISTICS)
    score = evaluator.corpus(samples())
    precision, recall = [1, 2 / 3, 4 / 6, 0], [1, 2 / 12, 4 / 12, 0]
    f1 = [1, 4 / 15, 4 / 9, 0]
    assert score.parts["scene-facts-precision"].per_caption.tolist() == pytest.approx(precision)
    assert score.parts["scene-facts-recall"].per_caption.tolist() == pytest.approx(recall)
    assert score.per_caption.tolist() == pytest.approx(f1)
    assert evaluator(samples()).tolist() == pytest.approx(f1)


def test_a_corpus_adds_up_facts():
    score = SceneFacts(detailed=True).corpus(samples())
    p, r = (12 + 2 + 4) / (12 + 3 + 6), (12 + 2 + 4) / 48
    assert score.value == pytest.approx(2 * p * r / (p + r))
    values = {name: part.value for name, part in score.parts.items()}
    assert values == pytest.approx(
        {
            "scene-facts": 2 * p * r / (p + r),
            "scene-facts-precision": p,
            "scene-facts-recall": r,
            "objects-precision": 1.0,
            "objects-recall": 5 / 8,
            "attributes-precision": 5 / 6,
            "attributes-recall": 5 / 20,
            "relations-precision": 1 / 2,
            "relations-recall": 1 / 4,
            "counts-precision": 1.0,
            "counts-recall": 5 / 8,
            "setting-precision": 2 / 3,
            "setting-recall": 2 / 8,
        }
    )
    assert score.statistics.tolist() == [np.sum(STATISTICS, axis=0).tolist()]
    assert str(score.signature).startswith("scene-facts|world:1|v:")


def test_nan_only_where_a_category_does_not_apply():
    parts = SceneFacts(detailed=True).corpus(samples()).parts
    unknown = {name: np.isnan(part.per_caption).tolist() for name, part in parts.items()}
    assert unknown.pop("attributes-precision") == [False, False, True, True]
    assert unknown.pop("relations-precision") == [False, True, False, True]
    assert unknown.pop("setting-precision") == [False, True, False, True]
    assert unknown.pop("objects-precision") == unknown.pop("counts-precision") == [False, False, False, True]
    assert not np.any(list(unknown.values()))
    alone = Samples(["three white balls"], images=[ScenePicture("test", 123)])
    assert np.isnan(SceneFacts(detailed=True).corpus(alone).parts["relations-recall"].value)
    assert SceneFacts()(alone).tolist() == pytest.approx([2 * 3 / 6 / (1 + 3 / 6)])


def test_own_captions_are_worth_one_and_those_of_other_scenes_less():
    pictures = [ScenePicture("test", i) for i in range(60)]
    own = SceneFacts().corpus(Samples([p.scene.captions[0] for p in pictures], images=pictures))
    assert own.per_caption.tolist() == [1.0] * 60
    others = SceneFacts().corpus(Samples([p.scene.captions[0] for p in pictures[1:] + pictures[:1]], images=pictures))
    assert others.value < 0.35
    assert own.interval(resamples=50) == (1.0, 1.0)


def test_candidates_in_batches_over_prepared_items():
    pictures = [ScenePicture("val", i) for i in range(5)]
    every = Samples(
        [scene("val", i).captions[n] for i in range(5) for n in range(5)], images=pictures, item=np.repeat(range(5), 5)
    )
    evaluator = pickle.loads(pickle.dumps(SceneFacts()))
    prepared = pickle.loads(pickle.dumps(evaluator.prepare(every)))
    batched = [evaluator(every.take(np.arange(i, i + 5)), prepared) for i in range(0, 25, 5)]
    np.testing.assert_array_equal(np.concatenate(batched), evaluator(every))
    halves = [Samples(every.captions[s], images=pictures, item=every.item[s]) for s in (slice(0, 10), slice(10, 25))]
    one, two = (evaluator.corpus(half) for half in halves)
    assert one.merge(two).value == pytest.approx(evaluator.corpus(every).value)


@pytest.mark.parametrize("images", [["photo.jpg"], [ScenePicture("test", 1), "photo.jpg"], [scene("test", 1)]])
def test_other_pictures_are_refused(images):
    with pytest.raises(InputError) as error:
        SceneFacts()(Samples(["a ball"] * len(images), images=images))
    assert str(error.value) == "scene-facts needs pictures of the scenes world; give --images scenes"


def test_a_true_relation_of_another_pair_is_precise_and_recalls_nothing():
    """The full caption relates the kite to the houses; that it is above the balls is true as well."""
    score = SceneFacts(detailed=True).corpus(Samples(["a kite is above two balls"], images=[ScenePicture("val", 3)]))
    assert score.parts["scene-facts-precision"].value == 1.0
    assert score.parts["scene-facts-recall"].value == 4 / 18
    assert score.parts["relations-recall"].value == 0.0


def test_missing_pictures_are_asked_for():
    with pytest.raises(InputError, match="scene-facts needs images"):
        SceneFacts().corpus(Samples(["a ball"]))


def test_grammar_is_one_or_zero():
    score = SceneGrammar().corpus(Samples(["A red ball.", "a red", "a orange ball", "two balls are on the grass"]))
    assert score.per_caption.tolist() == [1.0, 0.0, 0.0, 1.0]
    assert score.value == 0.5
    assert SceneGrammar()(Samples(["an orange ball"])).tolist() == [1.0]
    assert str(score.signature).startswith("scene-grammar|world:1|v:")
