"""From raw captions, every number equals pycocoevalcap with its Java programs: per caption and corpus, on whole files."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

from capreward import Samples
from capreward.scoring import load_list

pytestmark = [
    pytest.mark.java,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("java") is None, reason="needs a Java runtime"),
]

LIMIT = 1e-9


def coco(folder, name):
    references = json.loads((folder / "coco_karpathy_test/refs_5000.json").read_text())
    rows = json.loads((folder / f"coco_karpathy_test/outputs/{name}.json").read_text())
    return [r["caption"] for r in rows], [references[str(r["image_id"])] for r in rows]


def expert(folder, _):
    images = json.loads((folder / "flickr8k/flickr8k.json").read_text()).values()
    rows = [(j["caption"], image["ground_truth"]) for image in images for j in image["human_judgement"]]
    return [r[0] for r in rows], [r[1] for r in rows]


def original(captions, references):
    """pycocoevalcap's corpus and per-caption values by our names."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokenizer = PTBTokenizer()
    gts = tokenizer.tokenize({i: [{"caption": c} for c in refs] for i, refs in enumerate(references)})
    res = tokenizer.tokenize({i: [{"caption": c}] for i, c in enumerate(captions)})
    assert list(gts) == list(res) == list(range(len(captions)))
    bleu, bleus = Bleu(4).compute_score(gts, res, verbose=0)
    values = {f"bleu{n + 1}": (bleu[n], bleus[n]) for n in range(4)}
    meteor = Meteor()
    try:
        values["meteor"] = meteor.compute_score(gts, res)
    finally:
        meteor.meteor_p.kill()
        meteor.meteor_p.wait()
    values["rouge"] = Rouge().compute_score(gts, res)
    values["cider"] = Cider().compute_score(gts, res)
    return values


@pytest.mark.parametrize(
    ("read", "name", "size", "touched"),
    [
        (coco, "showedittell_xe", 5000, 0),
        (coco, "showedittell_rl", 5000, 0),
        (coco, "puret_scst_test27", 5000, 0),
        (coco, "magic_magic", 4982, 1),
        (expert, "flickr8k_expert", 16992, 0),
    ],
)
def test_values_equal_pycocoevalcap(shared_data, read, name, size, touched):
    captions, references = read(shared_data, name)
    assert len(captions) == size
    expected = original(captions, references)
    joined, apart = (judge(captions, references, t) for t in ("ptb-joined", "ptb"))
    assert set(joined) == set(apart) == set(expected)
    for metric, (whole, each) in expected.items():
        differences = np.abs(joined[metric].per_caption - np.asarray(each))
        if os.environ.get("CAPREWARD_SHOW"):
            print(f"{name} {metric}: corpus {abs(joined[metric].value - whole):.1e}, caption {differences.max():.1e}")
        assert differences.max() <= LIMIT, metric
        assert joined[metric].value == pytest.approx(whole, abs=LIMIT), metric
        # Each caption for itself: the same but for the images whose references the original's look past the end of a
        # line reaches. (CIDEr's document frequencies carry a touched reference into other images; METEOR's do not.)
        if metric != "cider":
            assert (np.abs(apart[metric].per_caption - np.asarray(each)) > LIMIT).sum() <= touched, metric


def judge(captions, references, tokenizer):
    samples = Samples(captions, references=references)
    found = [e.corpus(samples) for e in load_list("bleu,meteor,rouge,cider", tokenizer=tokenizer)]
    return {c.name: c for score in found for c in (score.parts.values() if score.family else [score])}
