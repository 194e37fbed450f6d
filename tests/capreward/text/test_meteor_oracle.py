"""METEOR compared live with meteor-1.5.jar, driven by pycocoevalcap, on real captions and on hostile ones."""

from __future__ import annotations

import importlib.util
import json
import shutil

import pytest
from places import DATA, FIXTURES

from capreward.text.meteor import MeteorEngine, corpus_score, score_from_statistics, summable

OUTPUTS = ("puret_scst_test27", "magic_magic", "showedittell_rl", "showedittell_xe")

pytestmark = [
    pytest.mark.java,
    pytest.mark.skipif(shutil.which("java") is None, reason="no Java runtime on PATH"),
]
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no caption data in {DATA}; set CAPREWARD_DATA")


@pytest.fixture(scope="module")
def engine() -> MeteorEngine:
    return MeteorEngine()


@pytest.fixture(scope="module")
def jar():
    with pytest.MonkeyPatch.context() as patch:
        # EVAL cannot read its own numbers back under a locale with decimal commas.
        patch.setenv("JAVA_TOOL_OPTIONS", "-Duser.language=en -Duser.country=US -Dfile.encoding=UTF-8")
        from pycocoevalcap.meteor.meteor import Meteor

        return Meteor()


def read(name: str):
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def tokenize(groups: list[list[str]]) -> list[list[str]]:
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    done = PTBTokenizer().tokenize({n: [{"caption": text} for text in texts] for n, texts in enumerate(groups)})
    return [done[n] for n in range(len(groups))]


def check_equal(engine: MeteorEngine, jar, captions: list[str], references: list[list[str]]) -> None:
    corpus, scores = jar.compute_score(dict(enumerate(references)), {n: [text] for n, text in enumerate(captions)})
    stats = engine.statistics(captions, references)
    mine = score_from_statistics(stats).tolist()
    wrong = [row for row in zip(captions, references, scores, mine, strict=True) if row[2] != row[3]]
    assert wrong == []
    assert corpus_score(summable(stats).sum(0)) == corpus


def test_made_up_captions(engine, jar):
    path = FIXTURES / "make_meteor_jar.py"
    spec = importlib.util.spec_from_file_location("make_meteor_jar", path)
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    pairs = maker.make_pairs(3000, seed=2014) + maker.make_repetitive_pairs(1000, seed=2014)
    pairs += maker.make_long_pairs(200, seed=2014)
    check_equal(engine, jar, [caption for caption, _ in pairs], [references for _, references in pairs])


@needs_data
@pytest.mark.parametrize("name", OUTPUTS)
def test_coco_system_outputs(engine, jar, name):
    rows = read(f"coco_karpathy_test/outputs/{name}.json")
    references = read("coco_karpathy_test/refs_5000.json")
    captions = tokenize([[row["caption"]] for row in rows])
    assert len(rows) > 4900
    check_equal(engine, jar, [c[0] for c in captions], tokenize([references[str(row["image_id"])] for row in rows]))


@needs_data
def test_coco_fake_captions(engine, jar):
    rows = read("coco_fakecap_1000/dataset_with_refs.json")
    captions = tokenize([row["candidates"][:1] for row in rows])
    assert len(rows) == 1000
    check_equal(engine, jar, [c[0] for c in captions], tokenize([row["references"] for row in rows]))


@needs_data
@pytest.mark.parametrize("distinct, count", [(True, 5664), (False, 16992)])
def test_flickr8k_expert(engine, jar, distinct, count):
    pairs = [
        (key, rating["caption"])
        for key, image in read("flickr8k/flickr8k.json").items()
        for rating in image["human_judgement"]
    ]
    pairs = list(dict.fromkeys(pairs)) if distinct else pairs
    images = read("flickr8k/flickr8k.json")
    references = dict(zip(images, tokenize([image["ground_truth"] for image in images.values()]), strict=True))
    captions = tokenize([[caption] for _, caption in pairs])
    assert len(pairs) == count
    check_equal(engine, jar, [c[0] for c in captions], [references[key] for key, _ in pairs])
