"""Full-size CLIPs with random weights, in each published layout, on real photos: features and scores as the originals."""

from __future__ import annotations

import json

import clip_originals as original
import numpy as np
import open_clip
import pytest
import torch
from clip_helpers import OPENAI
from PIL import Image

import capreward
from capreward.encoders.spec import STATISTICS

B32 = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
}
L14 = {
    "embed_dim": 768,
    "vision_cfg": {"image_size": 224, "layers": 24, "width": 1024, "patch_size": 14},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 768, "heads": 12, "layers": 12},
}
HALF = dict(zip(("mean", "std"), STATISTICS["half"], strict=True))

pytestmark = pytest.mark.slow


def model_of(config, quick_gelu):
    """Random weights whose cosines spread as those of trained ones: no two pictures or captions look alike."""
    torch.manual_seed(0)
    model = open_clip.CLIP(**json.loads(json.dumps(config)), quick_gelu=quick_gelu).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim > 1 and "logit" not in name:
                value.mul_(1.5)
    return model


@pytest.fixture(scope="module")
def photos(shared_data):
    """Eight COCO photos and the two examples of each repository, with a caption and references each."""
    rows = json.loads((shared_data / "coco_photos" / "captions.json").read_text())[:8]
    paths = [shared_data / "coco_photos" / "images" / r["file"] for r in rows]
    captions, references = [r["captions"][0] for r in rows], [r["captions"][1:] for r in rows]
    for example in ("clipscore_example", "pacscore_example"):
        folder = shared_data / "photos_examples" / example
        for key, caption in json.loads((folder / "good_captions.json").read_text()).items():
            paths.append(next((folder / "images").glob(f"{key}.*")))
            captions.append(caption)
            references.append(json.loads((folder / "refs.json").read_text())[key])
    return paths, captions, references


def expected(model, steps, photos, w):
    """Image features, text features, and both scores, by the original scripts' steps."""
    paths, captions, references = photos
    tokenizer = open_clip.SimpleTokenizer()
    image = original.image_features(model, [Image.open(p) for p in paths], steps)
    text = original.text_features(model, tokenizer, captions)
    listed = [original.text_features(model, tokenizer, texts) for texts in references]
    score = original.clip_score(image, text, w)
    return image, text, score, original.reference_score(score, original.reference_cosine(text, listed))


def check(path, name, photos, wanted, **options):
    """The features and scores of the file at ``path`` are those wanted, to 1e-5."""
    image, text, score, with_references = wanted
    paths, captions, references = photos
    evaluator = capreward.load(name, checkpoint=str(path), device="cpu", **options)
    samples = capreward.Samples(captions, references=references, images=[str(p) for p in paths])
    encoder = evaluator.encoder(samples)
    found = encoder.image_features([str(p) for p in paths]).values.numpy()
    np.testing.assert_allclose(original.normalised(found), original.normalised(image), rtol=0, atol=1e-5)
    found = encoder.text_features([f"A photo depicts {c}" for c in captions]).values.numpy()
    np.testing.assert_allclose(original.normalised(found), original.normalised(text), rtol=0, atol=1e-5)
    np.testing.assert_allclose(evaluator(samples).numpy(), score, rtol=0, atol=1e-5)
    aware = capreward.load(f"ref{name}", checkpoint=str(path), device="cpu", **options)
    aware.pool = evaluator.pool
    np.testing.assert_allclose(aware(samples).numpy(), with_references, rtol=0, atol=1e-5)
    return evaluator


@pytest.fixture(scope="module")
def base(photos):
    """ViT-B/32 with QuickGELU, and what the originals make of it."""
    model = model_of(B32, quick_gelu=True)
    steps = original.transform(224, **OPENAI)
    return model, {w: expected(model, steps, photos, w) for w in (2.5, 2.0)}


def test_openai_state_dict(base, photos, tmp_path):
    model, wanted = base
    torch.save(model.state_dict(), tmp_path / "ViT-B-32.pt")
    assert len(model.state_dict()) == 302
    check(tmp_path / "ViT-B-32.pt", "clips", photos, wanted[2.5])


def test_openai_archive(base, photos, tmp_path):
    from copy import deepcopy

    from clip_files import scripted

    model, wanted = base
    evaluator = check(scripted(deepcopy(model), tmp_path / "ViT-B-32.pt"), "clips", photos, wanted[2.5])
    assert "model:ViT-B-32.pt" in str(evaluator.signature())


def test_pac_s_base(base, photos, tmp_path):
    model, wanted = base
    torch.save({"state_dict": model.state_dict()}, tmp_path / "clip_ViT-B-32.pth")
    evaluator = check(tmp_path / "clip_ViT-B-32.pth", "pacs", photos, wanted[2.0])
    assert "act:quickgelu|prep:224-shortest-bicubic-openai" in str(evaluator.signature())


def test_open_clip_folder_by_convert(base, photos, tmp_path):
    from click.testing import CliRunner

    from capreward.commands import main

    model, wanted = base
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    done = CliRunner().invoke(main, ["convert", str(tmp_path / "weights.pt"), str(tmp_path / "folder")])
    assert done.exit_code == 0, done.output
    check(tmp_path / "folder", "clips", photos, wanted[2.5])
    again, _ = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path / 'folder'}")
    for name, value in again.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_transformers_folder(base, photos, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(1)
    peer = transformers.CLIPModel(transformers.CLIPConfig()).eval()
    peer.save_pretrained(tmp_path / "hf")
    paths, captions, _ = photos
    steps = original.transform(224, **OPENAI)
    pixels = torch.stack([steps(Image.open(p)) for p in paths])
    tokens = open_clip.SimpleTokenizer()([f"A photo depicts {c}" for c in captions])
    with torch.no_grad():
        seen = peer.visual_projection(peer.vision_model(pixels).pooler_output).numpy()
        hidden = peer.text_model(tokens).last_hidden_state
        read = peer.text_projection(hidden[torch.arange(len(tokens)), tokens.argmax(-1)]).numpy()
    evaluator = capreward.load("clips", checkpoint=str(tmp_path / "hf"), device="cpu", raw=True)
    values = evaluator(capreward.Samples(captions, images=[str(p) for p in paths]))
    np.testing.assert_allclose(
        values.numpy(),
        original.clip_score(seen, read, 1.0)
        + np.minimum(np.sum(original.normalised(seen) * original.normalised(read), axis=1), 0),
        rtol=0,
        atol=1e-5,
    )


def test_pac_spp_with_lora_factors(base, photos, tmp_path):
    """Factors that undo a change made to the stored weights: folding them gives the base model back."""
    model, wanted = base
    torch.manual_seed(2)
    state = {name: value.clone() for name, value in model.state_dict().items()}

    def factors(name, key, rows, columns, shape):
        down, up = torch.randn(rows, columns) * 0.02, torch.randn(shape, rows) * 0.02
        state[f"{key}A"], state[f"{key}B"] = down, up
        state[name] = state[name] - 0.25 * (up @ down).reshape(state[name].shape)

    factors("visual.conv1.weight", "visual.conv1.lora_", 4 * 32, 3 * 32, 768 * 32)
    for prefix, width in (("visual.transformer", 768), ("transformer", 512)):
        for n in range(12):
            block = f"{prefix}.resblocks.{n}"
            factors(f"{block}.attn.in_proj_weight", f"{block}.attn.in_proj_weight_lora_", 4, width, 3 * width)
            factors(f"{block}.attn.out_proj.weight", f"{block}.attn.out_proj.lora_", 4, width, width)
            for layer, into, out in (("c_fc", width, 4 * width), ("c_proj", 4 * width, width)):
                state[f"{block}.mlp.{layer}.lora_A"] = torch.randn(4, into)  # merged already: left as stored
                state[f"{block}.mlp.{layer}.lora_B"] = torch.randn(out, 4)
    assert len(state) == 496
    torch.save({"state_dict": state}, tmp_path / "PAC++_clip_ViT-B-32.pth")
    check(tmp_path / "PAC++_clip_ViT-B-32.pth", "pacspp", photos, wanted[2.0])


def test_pac_s_large(photos, tmp_path):
    """OpenCLIP's ViT-L/14: exact GELU and statistics of one half, with OpenAI's names."""
    model = model_of(L14, quick_gelu=False)
    assert len(model.state_dict()) == 446
    assert sum(p.numel() for p in model.parameters()) == 427_616_513
    few = tuple(listed[:3] for listed in photos)
    wanted = expected(model, original.transform(224, **HALF), few, 2.0)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "openClip_ViT-L-14.pth")
    evaluator = check(tmp_path / "openClip_ViT-L-14.pth", "pacs", few, wanted)
    assert "act:gelu|prep:224-shortest-bicubic-half" in str(evaluator.signature())
