"""Grammar rewards against transformers' own forward and the formulas of CLIP-Caption-Reward, by hand."""

from __future__ import annotations

import pickle

import clip_originals as original
import numpy as np
import open_clip
import pytest
import torch
from click.testing import CliRunner
from clip_helpers import OPENAI
from hf_files import grammar_file, grammar_head, hf_clip
from PIL import Image
from rounding import check_close
from torch.nn.functional import normalize

import capreward
from capreward.errors import InputError
from trainers.commands.convert import convert

CAPTIONS = ["a dog sits on a bench", "a a dog dog bench on", "two zebras", "", "the café is  closed &amp; dark"]
REFERENCES = [
    ["a dog sits on a bench"],
    ["the cat sleeps under one table", "nothing of it"],
    ["zebras in a field", "a pair of zebras"],
    ["no words"],
    ["a closed shop", "nobody at the café"],
]


def spread(model):
    """Make features differ from picture to picture and text to text as trained ones do."""
    for name, value in model.named_parameters():
        if value.ndim > 1 and "logit" not in name:
            value.data.mul_(2.0)
    return model


@pytest.fixture(scope="module")
def tuned():
    """The tuned CLIP and its head."""
    return spread(hf_clip(seed=4)), grammar_head()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tuned):
    return str(grammar_file(tmp_path_factory.mktemp("grammar") / "clip_negative_text-last.ckpt", *tuned))


@pytest.fixture(scope="module")
def images():
    draw = np.random.default_rng(0)
    return [Image.fromarray(draw.integers(0, 256, (30 + 9 * i, 55 - 4 * i, 3), dtype=np.uint8)) for i in range(5)]


def texts_of(model, head, captions, prompt="A photo depicts "):
    """Unit features and probabilities, one caption at a time, by transformers."""
    states = [model.text_model(open_clip.tokenize([prompt + c])).pooler_output for c in captions]
    h = torch.cat(states)
    return normalize(model.text_projection(h), dim=-1), head(h).softmax(-1)[:, 1]


@pytest.fixture(scope="module")
def parts(tuned, images):
    """v, e(c), g(c) and S'(c), each by hand."""
    model, head = tuned
    steps = original.transform(32, **OPENAI)
    pooled = torch.cat([model.vision_model(steps(image)[None]).pooler_output for image in images])
    v = normalize(model.visual_projection(pooled), dim=-1)
    e, g = texts_of(model, head, CAPTIONS)
    s = 2.5 * (v * e).sum(-1).clamp(min=0)
    assert s.min() == 0 < s.max()  # the clamp is at work
    assert g.max() - g.min() > 0.05
    return v, e, g, s


def samples(images, **given):
    return capreward.Samples(CAPTIONS, references=REFERENCES, images=images, **given)


def values(expression, images, **options):
    return capreward.load(expression, device="cpu", **options)(samples(images)).double()


def test_grammar_is_the_heads_probability(checkpoint, tuned, parts):
    alone = capreward.Samples(CAPTIONS)  # neither images nor references
    evaluator = capreward.load("grammar", checkpoint=checkpoint, device="cpu")
    assert evaluator.needs == frozenset()
    found = evaluator(alone)
    assert found.dtype == torch.float32
    check_close(found, parts[2])
    bare = capreward.load("grammar", checkpoint=checkpoint, device="cpu", prompt="none")(alone)
    check_close(bare, texts_of(*tuned, CAPTIONS, prompt="")[1])
    assert (found - bare).abs().max() > 1e-3
    score = evaluator.corpus(alone)
    assert score.value == pytest.approx(float(parts[2].mean()), abs=1e-6)
    assert str(score.signature).startswith("grammar|model:clip_negative_text-last.ckpt|sha:")
    assert "|act:quickgelu|prec:fp32|prompt:A_photo_depicts|v:" in str(score.signature)
    assert "prep:" not in str(score.signature)  # no image, no image steps


@pytest.mark.parametrize(
    "options, clip, grammar",
    [
        ({}, 1.0, 2.0),
        ({"code_weights": True}, 2.0, 1.0),
        ({"grammar_weight": 0.5}, 1.0, 0.5),
        ({"clip_weight": 0, "grammar_weight": 1}, 0.0, 1.0),
        ({"clip_weight": 3.0}, 3.0, 2.0),
    ],
)
def test_clips_grammar_is_the_weighted_sum(checkpoint, images, parts, options, clip, grammar):
    _, _, g, s = parts
    evaluator = capreward.load("clips-grammar", checkpoint=checkpoint, device="cpu", **options)
    found = evaluator(samples(images))
    assert found.dtype == torch.float32
    check_close(found, clip * s + grammar * g)
    signature = str(evaluator.signature())
    assert f"|w:2.5|prompt:A_photo_depicts|clamp:yes|clip_weight:{clip:g}|grammar_weight:{grammar:g}|v:" in signature


def test_the_switch_table(checkpoint, images, parts):
    """Every row of CLIP-Caption-Reward's options is an expression; CIDEr-D of the only reference itself is 10."""
    _, _, g, s = parts
    tuned = f"checkpoint={checkpoint}"
    d = capreward.load("cider-d", df="references", tokenizer="none")(samples(images))
    assert d[[0, 1, 3]].tolist() == pytest.approx([10.0, 0.0, 0.0], abs=1e-9)
    check_close(values(f"2*clips({tuned})", images), 2 * s)
    check_close(values(f"2*clips({tuned}) + cider-d(df=references,tokenizer=none)", images), 2 * s + d)
    check_close(values(f"2*clips({tuned}) + grammar({tuned})", images), 2 * s + g)
    check_close(values(f"clips-grammar({tuned},code_weights=true)", images), 2 * s + g)
    check_close(values(f"clips-grammar({tuned})", images), s + 2 * g)


@pytest.mark.parametrize("compat", [None, "clip-reward"])
def test_refclips_of_the_paper_and_of_clip_caption_reward(checkpoint, tuned, images, parts, compat):
    """The latter clamps and multiplies its best reference as well: RS = 2 / (1/S + 1/Q), 0 where S is 0."""
    _, e, _, s = parts
    best = torch.stack([(texts_of(*tuned, r)[0] @ e[i]).max() for i, r in enumerate(REFERENCES)])
    q = best if compat is None else 2.5 * best.clamp(min=0)
    wanted = torch.where(s == 0, torch.zeros_like(s), 2 / (1 / s + 1 / q))
    assert wanted.min() == 0 < wanted.max()
    option = f",compat={compat}" if compat else ""
    check_close(values(f"2*refclips(checkpoint={checkpoint}{option})", images), 2 * wanted)
    evaluator = capreward.load("refclips", checkpoint=checkpoint, device="cpu", compat=compat)
    assert ("|compat:clip-reward|" in str(evaluator.signature())) == (compat is not None)


def test_vectors_of_the_reference():
    """S = 2.5 cos, 0 for a negative cosine; RefCLIP-S 0 where S is 0, even if no reference is like it either."""
    evaluator = capreward.load("refclips", device="cpu", compat="clip-reward")
    prepared = type("Prepared", (), {"references": torch.eye(2), "offsets": np.array([0, 1, 2])})
    three = capreward.Samples(["x", "y", "z"], references=[["a"], ["b"]], item=[0, 1, 1])
    unit = torch.tensor([[0.8, 0.6], [-0.6, -0.8], [-0.6, -0.8]])  # cosines 0.8 and twice -0.8 with their references
    found = evaluator.finished(torch.tensor([2.5 * 0.4, 0.0, 1.0]), unit, three, prepared)
    torch.testing.assert_close(found, torch.tensor([2 / (1 / 1.0 + 1 / 2.0), 0.0, 0.0]))


def test_one_pass_of_the_text_tower_serves_all(checkpoint, images):
    """clips, grammar and clips-grammar of one checkpoint encode each distinct text once."""
    tuned = f"checkpoint={checkpoint}"
    reward = capreward.load(f"clips({tuned}) + grammar({tuned}) + clips-grammar({tuned})", device="cpu")
    twice = capreward.Samples(CAPTIONS * 2, images=images, item=list(range(5)) * 2)
    clip = next(iter(reward.terms.values())).encoder(twice).clip
    seen = []
    clip.model.transformer.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    first = reward(twice)
    assert seen == [5]
    check_close(first[:5], first[5:])


def test_batches_and_order_do_not_matter(checkpoint, images, parts):
    order = [3, 0, 4, 0, 2, 1]
    evaluator = capreward.load("clips-grammar", checkpoint=checkpoint, device="cpu", batch_size=2)
    mixed = capreward.Samples([CAPTIONS[i] for i in order], images=[images[i] for i in order])
    check_close(evaluator(mixed), (parts[3] + 2 * parts[2])[order])
    alone = [capreward.load("grammar", checkpoint=checkpoint, device="cpu")(capreward.Samples([c])) for c in CAPTIONS]
    check_close(torch.cat(alone), parts[2])


def test_a_prepared_grammar_travels_and_serves_other_captions(checkpoint, parts):
    evaluator = pickle.loads(pickle.dumps(capreward.load("grammar", checkpoint=checkpoint, device="cpu")))
    prepared = pickle.loads(pickle.dumps(evaluator.prepare(capreward.Samples([], item=[], key=list("abcde")))))
    again = pickle.loads(pickle.dumps(evaluator))
    check_close(again(capreward.Samples(CAPTIONS), prepared), parts[2])
    assert evaluator(capreward.Samples([], item=[], key=list("ab")), prepared).shape == (0,)
    assert evaluator.corpus(capreward.Samples(["x " * 200])).notes[-1] == (
        "1 of 1 captions cut at clip_negative_text-last.ckpt's 77 tokens"
    )


def test_a_file_without_images_judges_texts_and_takes_its_base(tmp_path, tuned, images, parts):
    model, head = tuned
    path = grammar_file(tmp_path / "less.ckpt", model, head, images=False)
    check_close(values("grammar", images, checkpoint=str(path)), parts[2])
    base = tmp_path / "base.pth"
    torch.save(model.state_dict(), base)
    found = values("clips-grammar", images, checkpoint=str(path), base=str(base))
    check_close(found, parts[3] + 2 * parts[2])
    check_close(values("grammar", images, checkpoint=str(path), base=str(base)), parts[2])
    with pytest.raises(
        InputError, match=r"less.ckpt has no image tower; give the CLIP that it was tuned from by base="
    ):
        values("clips-grammar", images, checkpoint=str(path))
    notes = capreward.load("grammar", checkpoint=str(path), device="cpu").corpus(capreward.Samples(["x"])).notes
    assert not any("image tower" in note for note in notes)  # texts need none


def test_weights_without_a_head_are_refused(images):
    for name in ("grammar", "clips-grammar"):
        with pytest.raises(InputError) as caught:
            capreward.load(name, checkpoint="scenes-clip", device="cpu")(samples(images))
        assert str(caught.value) == (
            f"{name} needs weights with a grammar head, and scenes-clip has none; give checkpoint= "
            "CLIP-Caption-Reward's file, a folder of capreward tune, or scenes-grammar"
        )


def test_without_weights_the_error_says_what_to_type(tmp_path, monkeypatch):
    monkeypatch.setenv("CAPREWARD_CACHE", str(tmp_path))
    monkeypatch.delenv("CAPREWARD_WEIGHTS", raising=False)
    with pytest.raises(InputError) as caught:
        capreward.load("grammar", device="cpu")(capreward.Samples(["a dog"]))
    said = str(caught.value)
    assert said.startswith("grammar needs clip_negative_text-last.ckpt, which is not in ")
    assert said.endswith("captions of scenes are judged by grammar(checkpoint=scenes-grammar)")


def test_options_of_the_wrong_kind_are_refused():
    for name, options, sentence in (
        ("grammar", {"prompt": 5}, "grammar: prompt=5 is no text"),
        ("grammar", {"download": "yes"}, "grammar: download='yes' is neither true nor false"),
        ("grammar", {"batch_size": 0}, "grammar: batch_size=0 is no whole number of 1 or more"),
        ("grammar", {"precision": "int8"}, "grammar: precision='int8' is none of fp32, bf16, fp16, auto"),
        ("grammar", {"w": 2}, "grammar has no option 'w'"),
        ("clips-grammar", {"code_weights": 2}, "clips-grammar: code_weights=2 is neither true nor false"),
        ("clips-grammar", {"grammar_weight": "x"}, "clips-grammar: grammar_weight='x' is no number"),
        ("clips-grammar", {"clip_weight": float("inf")}, "clips-grammar: clip_weight=inf is no number"),
        (
            "clips-grammar",
            {"code_weights": True, "grammar_weight": 2.0},
            "code_weights=true is clip_weight=2 and grammar_weight=1; leave grammar_weight out",
        ),
        ("clips-grammar", {"wrong": 2}, "clips-grammar has no option 'wrong'; it has checkpoint, code_weights, "),
        ("refclips", {"compat": "x"}, "refclips: compat='x' is unknown; write compat=clip-reward, or leave it out"),
        ("refclips", {"compat": "clip-reward", "raw": True}, "compat=clip-reward clamps cosines at 0"),
        ("refpacs", {"compat": "clip-reward"}, "refpacs has no option 'compat'"),
    ):
        with pytest.raises(InputError) as caught:
            capreward.load(name, **options)
        assert sentence in str(caught.value)


def test_convert_keeps_the_published_layouts_head(tmp_path, tuned, images, parts):
    """With the buffers of older versions; a stripped file takes its image tower by --base."""
    model, head = tuned
    base = tmp_path / "base.pth"
    torch.save(model.state_dict(), base)
    whole = grammar_file(tmp_path / "clip_negative_text-last.ckpt", model, head)
    less = grammar_file(tmp_path / "less.ckpt", model, head, images=False)
    for path, more in ((whole, []), (less, ["--base", str(base)])):
        out = tmp_path / f"{path.stem}-out"
        done = CliRunner().invoke(convert, [str(path), str(out), "--quick-gelu", "--statistics", "openai", *more])
        assert done.exit_code == 0, done.output
        assert "grammar layout" in done.stderr
        check_close(values("clips-grammar", images, checkpoint=str(out)), parts[3] + 2 * parts[2])
        check_close(values("grammar", images, checkpoint=str(out)), parts[2])
