"""CLIP-S, PAC-S and their reference-aware forms against the original formulas."""

from __future__ import annotations

import pickle

import clip_originals as original
import numpy as np
import open_clip
import pytest
import torch
from clip_helpers import OPENAI, small_model, write_folder
from PIL import Image
from rounding import check_close

import capreward
from capreward.encoders.encoder import Pixels
from capreward.encoders.model.text_tokens import tokenize
from capreward.errors import InputError

CAPTIONS = ["A Dog, sitting on a bench.", "two zebras", "the café is  closed &amp; dark", "", "a red bus"]
REFERENCES = [
    ["a dog on a bench", "A puppy sits outside."],
    ["zebras in a field"],
    ["a closed shop", "nobody at the café", "an empty street"],
    ["nothing"],
    ["a bus that is red", "public transport"],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("clip") / "small", small_model())


@pytest.fixture(scope="module")
def images():
    draw = np.random.default_rng(0)
    return [Image.fromarray(draw.integers(0, 256, (30 + 9 * i, 55 - 4 * i, 3), dtype=np.uint8)) for i in range(5)]


@pytest.fixture(scope="module")
def parts(images):
    """Features by the original scripts' steps."""
    model, tokenizer = small_model(), open_clip.SimpleTokenizer()
    image = original.image_features(model, images, original.transform(32, **OPENAI))
    text = original.text_features(model, tokenizer, CAPTIONS)
    references = [original.text_features(model, tokenizer, listed) for listed in REFERENCES]
    return image, text, references


def samples(images, **given):
    return capreward.Samples(CAPTIONS, references=REFERENCES, images=images, **given)


@pytest.mark.parametrize("name, w", [("clips", 2.5), ("pacs", 2.0), ("pacspp", 2.0)])
def test_reference_free_scores_equal_the_original_formula(folder, images, parts, name, w):
    image, text, _ = parts
    expected = original.clip_score(image, text, w)
    assert expected.min() == 0 < expected.max()  # the clamp is at work
    values = capreward.load(name, checkpoint=f"local-dir:{folder}", device="cpu")(samples(images))
    assert values.dtype == torch.float32
    np.testing.assert_allclose(values.numpy(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name, w", [("refclips", 2.5), ("refpacs", 2.0), ("refpacspp", 2.0)])
def test_reference_aware_scores_equal_the_original_formula(folder, images, parts, name, w):
    image, text, references = parts
    score = original.clip_score(image, text, w)
    expected = original.reference_score(score, original.reference_cosine(text, references))
    score = capreward.load(name, checkpoint=f"local-dir:{folder}", device="cpu").corpus(samples(images))
    np.testing.assert_allclose(score.per_caption, expected, rtol=0, atol=1e-5)
    assert score.value == pytest.approx(expected.mean(), abs=1e-5)


def test_named_options_change_the_formula_as_they_say(folder, images, parts):
    image, text, _ = parts
    cosine = np.sum(original.normalised(image) * original.normalised(text), axis=1)
    assert cosine.min() < 0

    def values(**options):
        return capreward.load("pacs", checkpoint=f"local-dir:{folder}", device="cpu", **options)(samples(images))

    np.testing.assert_allclose(values(raw=True), cosine, atol=1e-5)
    np.testing.assert_allclose(values(clamp=False), 2 * cosine, atol=1e-5)
    np.testing.assert_allclose(values(w=100), 100 * np.clip(cosine, 0, None), atol=1e-3)
    bare = original.text_features(small_model(), open_clip.SimpleTokenizer(), CAPTIONS, prompt="")
    dico = 2 * np.sum(original.normalised(image) * original.normalised(bare), axis=1)  # DiCO's own reward
    np.testing.assert_allclose(values(prompt=None, clamp=False), dico, atol=1e-5)


def test_every_option_that_changes_the_number_is_in_the_signature(folder, images):
    def signature(**options):
        evaluator = capreward.load("clips", checkpoint=f"local-dir:{folder}", device="cpu", **options)
        return str(evaluator.corpus(samples(images)).signature)

    plain = signature()
    assert "|act:quickgelu|" in plain
    assert "|w:2.5|prompt:A_photo_depicts|clamp:yes|" in plain
    assert "|prec:fp32|" in plain
    changed = [
        signature(w=2),
        signature(prompt=None),
        signature(clamp=False),
        signature(raw=True),
        signature(legacy_fp16=True),
        signature(upright=False),
        signature(precision="bf16"),
    ]
    assert len({plain, *changed}) == 8
    assert signature(batch_size=1, workers=0) == plain


def test_nothing_to_compare_with_is_zero_not_nan(folder, images):
    evaluator = capreward.load("refclips", checkpoint=f"local-dir:{folder}", device="cpu")
    zero = torch.zeros(2)
    prepared = type("Prepared", (), {"references": torch.zeros(1, 2), "offsets": np.array([0, 1])})
    one = capreward.Samples(["x"], references=[["y"]])
    assert evaluator.finished(zero[:1], torch.zeros(1, 2), one, prepared).tolist() == [0.0]


def test_candidates_of_one_image_share_it(folder, images):
    evaluator = capreward.load("clips", checkpoint=f"local-dir:{folder}", device="cpu")
    many = capreward.Samples(CAPTIONS * 2, images=images[:2], item=[0] * 5 + [1] * 5)
    prepared = evaluator.prepare(capreward.Samples([], images=images[:2], item=[]))
    together = evaluator(many, prepared)
    for i in range(2):
        alone = capreward.Samples(CAPTIONS, images=[images[i]], item=[0] * 5)
        torch.testing.assert_close(evaluator(alone), together[5 * i : 5 * i + 5], rtol=0, atol=1e-5)


def test_batches_order_and_duplicates_do_not_matter(folder, images):
    evaluator = capreward.load("refpacs", checkpoint=f"local-dir:{folder}", device="cpu", batch_size=2)
    whole = capreward.load("refpacs", checkpoint=f"local-dir:{folder}", device="cpu")(samples(images))
    torch.testing.assert_close(evaluator(samples(images)), whole, rtol=0, atol=1e-5)
    order = [3, 0, 4, 0, 2, 1]
    mixed = capreward.Samples(
        [CAPTIONS[i] for i in order], references=[REFERENCES[i] for i in order], images=[images[i] for i in order]
    )
    torch.testing.assert_close(evaluator(mixed), whole[order], rtol=0, atol=1e-5)


def test_ready_pixels_score_as_their_pictures(folder, images):
    steps = original.transform(32, **OPENAI)
    evaluator = capreward.load("clips", checkpoint=f"local-dir:{folder}", device="cpu")
    pixels = [Pixels(steps(image)) for image in images]
    torch.testing.assert_close(evaluator(samples(pixels)), evaluator(samples(images)), rtol=0, atol=1e-5)
    with pytest.raises(
        InputError, match=r"takes normalised pixels, float \[N, 3, 32, 32\]; found float32 \[1, 3, 8, 8\]"
    ):
        evaluator(capreward.Samples(["x"], images=[Pixels(torch.zeros(3, 8, 8))]))


def test_images_without_references_have_no_reference_aware_score(folder, images):
    evaluator = capreward.load("refclips", checkpoint=f"local-dir:{folder}", device="cpu")
    some = capreward.Samples(CAPTIONS, references=[*REFERENCES[:3], [], REFERENCES[4]], images=images)
    values = evaluator(some)
    assert torch.isnan(values).tolist() == [False, False, False, True, False]
    kept = [0, 1, 2, 4]
    torch.testing.assert_close(values[kept], evaluator(samples(images))[kept], rtol=0, atol=1e-5)


def test_captions_cut_at_the_context_length_are_counted(folder, images):
    long = "a very long caption " * 30
    some = capreward.Samples([long, "a dog", long], references=[[long], ["x", "y"], ["z"]], images=images[:3])
    scores = capreward.score(
        some, metrics=[capreward.load(n, checkpoint=f"local-dir:{folder}", device="cpu") for n in ("clips", "refclips")]
    )
    assert "2 of 3 captions cut at small's 77 tokens" in scores.notes
    assert "1 of 4 references cut at small's 77 tokens" in scores.notes
    tokens = tokenize(open_clip.SimpleTokenizer(), ["A photo depicts " + long], 77)
    expected = open_clip.SimpleTokenizer()(["A photo depicts " + long])[0]
    assert tokens.rows[0].tolist() == expected.tolist()


def test_tokens_are_those_of_clip():
    rows = tokenize(open_clip.SimpleTokenizer(), ["A Dog, sitting on a bench."], 77).rows
    assert rows[0].tolist() == [49406, 320, 1929, 267, 4919, 525, 320, 8771, 269, 49407]
    filled = tokenize(open_clip.SimpleTokenizer(), ["dog " * 75, "dog " * 76], 77)
    assert filled.lengths.tolist() == [77, 77]
    assert filled.cut.tolist() == [False, True]


def test_half_precision_arithmetic_is_that_of_the_script(folder, images):
    """Features, norms and products in float16, x / sqrt(sum(x^2)), as numpy does it in CLIPScore's script."""
    evaluator = capreward.load("clips", checkpoint=f"local-dir:{folder}", device="cpu", legacy_fp16=True)
    prepared = evaluator.prepare(samples(images))
    assert prepared.images.dtype == torch.float16
    encoder = evaluator.encoder(samples(images))
    assert encoder.precision == "fp16"
    assert encoder.clip.model.visual.conv1.weight.dtype == torch.float16
    raw = encoder.image_features(images).values.half().numpy()
    text = encoder.text_features([f"A photo depicts {c}" for c in CAPTIONS]).values.half().numpy()
    expected = 2.5 * np.clip(np.sum(original.normalised(raw) * original.normalised(text), axis=1), 0, None)
    found = evaluator(samples(images)).numpy()
    assert np.abs(found - expected.astype(np.float32)).max() <= 2**-9  # two units in the last place of float16 near 1
    exact = capreward.load("clips", checkpoint=f"local-dir:{folder}", device="cpu")(samples(images)).numpy()
    assert 0 < np.abs(found - exact).max() < 0.009


def test_travels_in_a_pickle_and_loads_its_weights_again(folder, images):
    evaluator = capreward.load("pacs", checkpoint=f"local-dir:{folder}", device="cpu")
    before = evaluator(samples(images))
    packed = pickle.dumps(evaluator)
    assert len(packed) < 5000
    torch.testing.assert_close(pickle.loads(packed)(samples(images)), before, rtol=0, atol=0)
    prepared = pickle.dumps(evaluator.prepare(samples(images)))
    assert len(prepared) < 5000
    there = pickle.loads(packed)(samples(images), pickle.loads(prepared))
    torch.testing.assert_close(there, before, rtol=0, atol=0)


def test_evaluators_of_one_call_share_one_encoder(folder, images):
    metrics = f"clips(checkpoint='{folder}'), refclips(checkpoint='{folder}') - pacs(checkpoint='{folder}')"
    from capreward.scoring import load_list

    clips, combined = load_list(metrics, device="cpu")
    some = samples(images)
    encoders = {id(e.encoder(some)) for e in [clips, *combined.terms.values()]}
    assert len(encoders) == 1


def test_unusable_options_are_refused_in_one_sentence(folder, images):
    with pytest.raises(InputError, match="raw=true is w=1 and clamp=false"):
        capreward.load("clips", raw=True, w=2)
    with pytest.raises(InputError, match="precision='fp8' is none of fp32, bf16, fp16, auto"):
        capreward.load("clips", precision="fp8")
    with pytest.raises(InputError, match="device='gpu' is none that torch knows"):
        capreward.load("clips", checkpoint=str(folder), device="gpu")(samples(images))
    with pytest.raises(InputError, match="clips needs images"):
        capreward.load("clips", checkpoint=str(folder))(capreward.Samples(["x"]))


def test_a_sigmoid_trained_model_needs_a_w(tmp_path, images):
    from clip_helpers import SMALL

    config = {**SMALL, "init_logit_bias": -10.0}
    model = small_model(config=config)
    path = write_folder(tmp_path / "siglip", model, config=config)
    with pytest.raises(InputError, match="trained with a sigmoid loss, for whose cosines w=2.5 means nothing; give w="):
        capreward.load("clips", checkpoint=str(path), device="cpu")(samples(images))
    values = capreward.load("clips", checkpoint=str(path), device="cpu", w=1)(samples(images))
    assert values.max() > 0


def test_batches_that_do_not_fit_are_halved_until_they_do(folder, images):
    """A card that holds two pictures or texts at a time gives what one that holds all gives."""
    whole = capreward.load("refclips", checkpoint=str(folder), device="cpu")
    expected = whole(samples(images))
    evaluator = capreward.load("refclips", checkpoint=str(folder), device="cpu")
    encoder = evaluator.encoder(samples(images))
    sizes = []

    def holds_two(module, given):
        sizes.append(len(given[0]))
        if sizes[-1] > 2:
            raise torch.cuda.OutOfMemoryError("too much")

    encoder.clip.model.visual.register_forward_pre_hook(holds_two)
    encoder.clip.model.transformer.register_forward_pre_hook(holds_two)
    torch.testing.assert_close(evaluator(samples(images)), expected, rtol=0, atol=1e-5)
    assert max(sizes) > 2
    assert sizes[-1] <= 2
    fixed = capreward.load("clips", checkpoint=str(folder), device="cpu", batch_size=4)
    fixed.encoder(samples(images)).clip.model.visual.register_forward_pre_hook(holds_two)
    with pytest.raises(InputError, match="a batch of 4 does not fit into the memory of cpu; give a smaller batch_size"):
        fixed(samples(images))


def test_the_padding_of_a_text_does_not_count(folder):
    """The tower without its padding gives what the whole context gives, for texts of every length."""
    from capreward.encoders.model.text_tower import can_trim, trimmed_text_features

    model = small_model()
    assert can_trim(model)
    texts = ["", "a", "a photo of a dog", "word " * 40, "word " * 100]
    whole = open_clip.SimpleTokenizer()(texts)
    with torch.no_grad():
        expected = model.encode_text(whole)
        for i, length in enumerate((2, 3, 7, 42, 77)):
            found = trimmed_text_features(model, whole[i : i + 1, :length])
            check_close(found[0], expected[i])


def test_broken_and_absent_images_keep_their_places(folder, images, tmp_path):
    (tmp_path / "broken.jpg").write_text("no picture")
    encoder = capreward.load("clips", checkpoint=str(folder), device="cpu").encoder(samples(images))
    mixed = [None, str(tmp_path / "broken.jpg"), images[0], str(tmp_path / "broken.jpg"), images[0]]
    found = encoder.image_features(mixed, skip_broken=True)
    assert [i for i, _ in found.broken] == [1, 3]
    assert torch.isnan(found.values).all(1).tolist() == [True, True, False, True, False]
    torch.testing.assert_close(found.values[4], encoder.image_features(images[:1]).values[0], rtol=0, atol=1e-5)


def test_options_of_the_wrong_kind_are_refused():
    for options, sentence in (
        ({"clamp": "no"}, "clips: clamp='no' is neither true nor false"),
        ({"quick_gelu": "yes"}, "clips: quick_gelu='yes' is neither true nor false"),
        ({"w": "abc"}, "clips: w='abc' is no number"),
        ({"w": float("nan")}, "clips: w=nan is no number"),
        ({"prompt": 5}, "clips: prompt=5 is no text"),
        ({"checkpoint": 5}, "clips: checkpoint=5 is no text"),
        ({"batch_size": 0}, "clips: batch_size=0 is no whole number of 1 or more"),
        ({"workers": -1}, "clips: workers=-1 is no whole number of 0 or more"),
        ({"legacy_fp16": True, "precision": "bf16"}, "legacy_fp16=true computes in fp16"),
    ):
        with pytest.raises(InputError) as caught:
            capreward.load("clips", **options)
        assert sentence in str(caught.value)


def test_no_prompt_is_said_in_one_way(folder, images):
    values = [
        capreward.load("clips", checkpoint=str(folder), device="cpu", prompt=prompt)(samples(images))
        for prompt in (None, "none", "")
    ]
    assert torch.equal(values[0], values[1])
    assert torch.equal(values[0], values[2])


def test_features_of_other_items_are_refused(folder, images):
    evaluator = capreward.load("clips", checkpoint=str(folder), device="cpu")
    prepared = evaluator.prepare(samples(images))
    with pytest.raises(InputError, match="was prepared for 5 items and these samples have 2"):
        evaluator(capreward.Samples(["a", "b"]), prepared)


def test_an_empty_batch_has_no_values(folder, images):
    evaluator = capreward.load("refclips", checkpoint=str(folder), device="cpu")
    prepared = evaluator.prepare(capreward.Samples([], images=images, references=REFERENCES, item=[]))
    assert evaluator(capreward.Samples([], references=REFERENCES, item=[]), prepared).shape == (0,)
    bare = capreward.Samples(["x"], images=images[:1], references=[[]])
    assert evaluator.prepare(bare).references.shape == (0, 32)


def test_systems_on_the_same_items_share_their_features(folder, images):
    evaluator = capreward.load("refclips", checkpoint=str(folder), device="cpu")
    first, second = samples(images), capreward.Samples(CAPTIONS[::-1], references=REFERENCES, images=images)
    expected = evaluator(capreward.Samples(CAPTIONS[::-1], references=REFERENCES, images=images))
    evaluator(first)
    second.share_items(first)
    seen = []
    encoder = evaluator.encoder(first)
    encoder.clip.model.visual.register_forward_pre_hook(lambda module, given: seen.append(1))
    torch.testing.assert_close(evaluator(second), expected, rtol=0, atol=1e-5)
    assert seen == []
    other = capreward.Samples(CAPTIONS, references=REFERENCES[::-1], images=images)
    other.share_items(first)
    evaluator(other)
    assert seen == [1]
