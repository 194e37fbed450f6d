"""Published scores come out to their printed digits, from the raw captions, without Java."""

from __future__ import annotations

import json

import numpy as np
import pytest

from capreward import Samples, score
from capreward.scoring import load_list

METRICS = "bleu,rouge,cider"


def printed(value, digits):
    return f"{value:.{digits}f}"


@pytest.mark.parametrize("name", ["showedittell_xe", "showedittell_rl"])
def test_full_precision_published_values(shared_data, name):
    """Show, Edit and Tell publishes pycocoevalcap's floats for both its outputs."""
    folder = shared_data / "coco_karpathy_test"
    published = json.loads((folder / f"outputs/{name}.published_metrics.json").read_text())
    scores = score(folder / f"outputs/{name}.json", folder / "refs_5000.json", metrics=METRICS)
    ours = {"ROUGE_L": "rouge", "CIDEr": "cider", **{f"Bleu_{n}": f"bleu{n}" for n in range(1, 5)}}
    assert set(ours) <= set(published)
    for theirs, mine in ours.items():
        assert scores[mine].value == pytest.approx(published[theirs], abs=1e-12), theirs


def test_magic_with_its_printed_counts(shared_data):
    """MAGIC's log prints BLEU's statistics too; its 4,982 captions are those of the published file."""
    folder = shared_data / "coco_karpathy_test"
    scores = score(folder / "outputs/magic_magic.json", folder / "refs_5000.json", metrics=METRICS)
    sums = scores["bleu"].statistics.sum(0)
    assert sums[0:4].tolist() == [26801, 9496, 2857, 902]
    assert sums[4:8].tolist() == [47153, 42171, 37189, 32207]
    assert sums[8:].tolist() == [47153, 47168]
    assert [printed(scores[f"bleu{n}"].value, 3) for n in range(1, 5)] == ["0.568", "0.358", "0.214", "0.129"]
    assert [printed(scores[n].value, 3) for n in ("rouge", "cider")] == ["0.399", "0.493"]


def test_puret_and_fakecap(shared_data):
    folder = shared_data / "coco_karpathy_test"
    scores = score(folder / "outputs/puret_scst_test27.json", folder / "refs_5000.json", metrics=METRICS)
    # PureT prints 52.0 for BLEU-3; its own output file gives 53.0 with pycocoevalcap as well: a misprint.
    assert [printed(100 * scores[f"bleu{n}"].value, 1) for n in range(1, 5)] == ["82.1", "67.3", "53.0", "40.9"]
    assert [printed(100 * scores[n].value, 1) for n in ("rouge", "cider")] == ["60.1", "138.2"]
    folder = shared_data / "coco_fakecap_1000"
    scores = score(folder / "captions_val2014_fakecap_results.json", folder / "dataset_with_refs.json", metrics=METRICS)
    assert [printed(scores[f"bleu{n}"].value, 3) for n in range(1, 5)] == ["0.579", "0.404", "0.279", "0.191"]
    assert [printed(scores[n].value, 3) for n in ("rouge", "cider")] == ["0.396", "0.600"]


EXAMPLES = {  # BLEU-1 to 4, METEOR, ROUGE-L, CIDEr as the READMEs print them (None where they do not)
    ("clipscore_example", "good"): [".6667", ".4899", ".3469", ".0000", ".3444", ".4280", ".5637"],
    ("clipscore_example", "bad"): [".4815", ".2404", ".1359", ".0000", ".1861", ".3121", ".2790"],
    ("pacscore_example", "good"): [".6400", None, None, ".3503", ".3057", ".5012", "1.4918"],
    ("pacscore_example", "bad"): [".4500", None, None, ".0000", ".0995", ".3268", ".4259"],
}


@pytest.mark.parametrize(("folder", "kind"), EXAMPLES)
def test_readme_examples_of_clipscore_and_pacscore(shared_data, folder, kind):
    place = shared_data / "photos_examples" / folder
    scores = score(place / f"{kind}_captions.json", place / "refs.json", metrics="bleu,meteor,rouge,cider")
    found = [printed(c.value, 4).removeprefix("0") for c in scores.columns()]
    expected = EXAMPLES[folder, kind]
    assert [f for f, e in zip(found, expected, strict=True) if e] == [e for e in expected if e]


@pytest.mark.slow
def test_meteor_of_model_outputs(shared_data):
    folder = shared_data / "coco_karpathy_test"
    for name, digits in {"puret_scst_test27": "0.302", "magic_magic": "0.174"}.items():
        found = score(folder / f"outputs/{name}.json", folder / "refs_5000.json", metrics="meteor")["meteor"].value
        assert printed(found, 3) == digits
    folder = shared_data / "coco_fakecap_1000"
    files = folder / "captions_val2014_fakecap_results.json", folder / "dataset_with_refs.json"
    assert printed(score(*files, metrics="meteor")["meteor"].value, 3) == "0.195"


TAU = {  # tau_b and tau_c x 100 on Flickr8k-Expert, PAC-S README
    "bleu1": ("32.175", "32.324"),
    "bleu4": ("30.599", "30.776"),
    "rouge": ("32.139", "32.314"),
    "cider": ("43.602", "43.891"),
    "meteor": ("41.538", "41.822"),
}


def expert(shared_data):
    """The 16,992 ratings, each an item of its own, with the white space of captions collapsed as PAC-S does."""
    images = json.loads((shared_data / "flickr8k/flickr8k.json").read_text())
    rows = [
        (" ".join(j["caption"].split()), [" ".join(r.split()) for r in image["ground_truth"]], j["rating"])
        for image in images.values()
        for j in image["human_judgement"]
        if not np.isnan(j["rating"])
    ]
    assert len(rows) == 16992
    return Samples([r[0] for r in rows], references=[r[1] for r in rows]), [r[2] for r in rows]


@pytest.mark.slow
def test_flickr8k_expert_correlations(shared_data):
    stats = pytest.importorskip("scipy.stats")
    samples, ratings = expert(shared_data)
    for evaluator in load_list(",".join(TAU)):
        values = evaluator.corpus(samples).per_caption
        found = tuple(printed(100 * stats.kendalltau(values, ratings, variant=v).statistic, 3) for v in ("b", "c"))
        assert found == TAU[evaluator.name], evaluator.name
