"""The grammar objective against its formulas, written out."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from capreward.encoders.loading import load_clip
from capreward.encoders.model.backend import import_open_clip
from capreward.encoders.model.open_clip_model import build_model
from capreward.errors import InputError
from trainers.runs.config import UpdatesConfig
from trainers.runs.schedules import adamw, is_matrix
from trainers.tuning.binary_figures import binary_figures
from trainers.tuning.contrastive_losses import joint_info_nce, retrieval
from trainers.tuning.grammar_objective import CorruptedCaption, Grammar
from trainers.tuning.held_out import EncodedBatch, figures_of
from trainers.tuning.objective import Pairs
from trainers.tuning.preparation import prepare_model
from trainers.tuning.towers import Towers, name_of
from trainers.tuning.trainer import decays_as_published

CAPTIONS = ["A red boat, on the calm sea.", "two dogs run over the green field", "a lamp"]
VIT_B_32 = {
    "embed_dim": 512,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
}


def unit(rows):
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float64), dim=-1)


def log_softmax(logits):
    shifted = logits - logits.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def chances(count, seed=0):
    return [random.Random(f"{seed} {row}") for row in range(count)]


@pytest.fixture
def parts():
    """Features of three pairs and of their corruptions, states and a head."""
    made = torch.Generator().manual_seed(1)
    draw = torch.randn(17, 4, generator=made, dtype=torch.float64)
    image, features = unit(draw[:3].numpy()), unit(draw[3:9].numpy())
    head = nn.Sequential(nn.Linear(4, 4, bias=False), nn.ReLU(), nn.Linear(4, 2, bias=False)).double()
    with torch.no_grad():
        head[0].weight.copy_(draw[9:13])
        head[2].weight.copy_(draw[13:15])
    states = torch.randn(6, 4, generator=made, dtype=torch.float64)
    return image, features, states, nn.ModuleDict({"grammar_head": head}), torch.tensor(7.0, dtype=torch.float64)


def test_the_loss_is_info_nce_plus_cross_entropy(parts):
    image, features, states, extra, scale = parts
    found, told = Grammar().loss(image, None, states, features, extra, scale)
    logits = 7.0 * image.numpy() @ features[:3].numpy().T  # the corrupted captions have no part in it
    clip = -(np.diag(log_softmax(logits)).mean() + np.diag(log_softmax(logits.T)).mean()) / 2
    first, last = (extra["grammar_head"][n].weight.detach().numpy() for n in (0, 2))
    scores = log_softmax(np.maximum(states.numpy() @ first.T, 0) @ last.T)
    grammar = -(scores[:3, 1].sum() + scores[3:, 0].sum()) / 6
    right = np.concatenate([scores[:3, 1] > scores[:3, 0], scores[3:, 0] > scores[3:, 1]]).mean()
    assert float(found.detach()) == pytest.approx(clip + grammar, abs=1e-12)
    assert {n: float(v) for n, v in told.items()} == pytest.approx(
        {"clip_loss": clip, "grammar_loss": grammar, "accuracy": right}, abs=1e-7
    )


def test_without_images_the_cross_entropy_is_the_loss(parts):
    _, features, states, extra, scale = parts
    found, told = Grammar().loss(None, None, states, features, extra, scale)
    assert float(found.detach()) == float(told["grammar_loss"])
    assert "clip_loss" not in told


def test_joint_out_adds_columns_to_one_direction(parts):
    image, features, states, _, scale = parts
    found, told = Grammar(joint_out=True).loss(image, None, states, features, nn.ModuleDict(), scale)
    logits = 7.0 * image.numpy() @ features.numpy().T
    wanted = -(np.diag(log_softmax(logits)).mean() + np.diag(log_softmax(logits[:, :3].T)).mean()) / 2
    assert float(found.detach()) == pytest.approx(wanted, abs=1e-12)
    assert float(told["clip_loss"]) == float(found)
    assert float(joint_info_nce(image, features[:3], features[3:], scale)) == float(found)
    assert Grammar(joint_out=True).learns_from_texts is False
    assert Grammar().learns_from_texts is True


def test_texts_are_the_captions_and_a_corruption_of_each():
    objective = Grammar(least=1)
    objective.study(CAPTIONS)
    texts = objective.texts(Pairs(None, CAPTIONS), chances(3))
    assert texts[:3] == ["a red boat on the calm sea", "two dogs run over the green field", "a lamp"]
    known = {word for text in texts[:3] for word in text.split()}
    for plain, made in zip(texts[:3], texts[3:], strict=True):
        assert made != plain
        assert isinstance(made, CorruptedCaption)
        assert made.kind in ("repeat", "remove", "insert", "swap", "shuffle")
        assert set(made.split()) <= known
    alone = objective.texts(Pairs(None, CAPTIONS[1:2]), chances(3)[1:2])
    assert alone[1] == texts[4]  # what is drawn for a pair does not depend on its neighbours


def test_captions_that_cannot_be_corrupted_are_known():
    assert [Grammar().usable(c) for c in ("A lamp.", "lamp", "Lamp, lamp!", "", "...", "a a b")] == [
        True, False, False, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"kinds": ["swop"]},
            "corruptions must be some of repeat, remove, insert, swap, shuffle, each once; found swop",
        ),
        ({"least": 0}, "least must be a whole number, at least 1; found 0"),
        ({"joint_out": 1}, "joint_out must be true or false; found 1"),
    ],
)
def test_options_are_checked(options, told):
    with pytest.raises(InputError, match=told):
        Grammar(**options)


def test_a_vocabulary_without_frequent_words_is_told():
    with pytest.raises(InputError, match=r"objective.least is 6, try --set objective.least=1"):
        Grammar().study(CAPTIONS)


def test_figures_have_their_right_names():
    """Of 5 captions 3 are called so, of 4 corruptions 1 is: precision 3/4, recall 3/5, not the reverse."""
    scores = torch.tensor([2.0, 1.0, 0.5, -1.0, -3.0, 1.5, -0.5, -2.0, -4.0])
    found = binary_figures(scores, torch.arange(9) < 5)
    ordered_pairs = 4 + 3 + 3 + 2 + 1  # of each caption the corruptions below it
    wanted = {"accuracy": 6 / 9, "precision": 3 / 4, "recall": 3 / 5, "f1": 6 / 9, "auc": ordered_pairs / 20}
    assert found == pytest.approx(wanted, abs=1e-12)


def test_ties_count_half_and_empty_classes_have_no_figure():
    assert binary_figures(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([True, False, False]))["auc"] == 0.75
    found = binary_figures(torch.tensor([-1.0, -2.0]), torch.tensor([False, False]))
    assert found["accuracy"] == 1.0
    assert all(math.isnan(found[name]) for name in ("precision", "recall", "f1", "auc"))


def test_validate_counts_each_kind_for_itself():
    objective = Grammar()
    head = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():  # class 1 wins where the state is above 0
        head[0].weight.copy_(torch.tensor([[1.0], [-1.0]]))
        head[2].weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    kinds = ["swap", "swap", "swap", "shuffle"]
    texts = [*"abcd", *(CorruptedCaption.of(kind, "x") for kind in kinds)]
    states = torch.tensor([[1.0], [2.0], [-1.0], [3.0], [-1.0], [4.0], [-2.0], [0.5]])
    with torch.no_grad():
        found = objective.validate(texts, states, nn.ModuleDict({"grammar_head": head}))
    assert found["accuracy/swap"] == pytest.approx(2 / 3)
    assert found["accuracy/shuffle"] == 0.0
    assert "accuracy/insert" not in found
    assert (found["accuracy"], found["precision"], found["recall"]) == (5 / 8, 3 / 5, 3 / 4)


def test_retrieval_counts_both_ways():
    text = unit([[1, 0, 0], [0, 1, 0], [0.9, 0.1, 0]])
    image = unit([[1, 0.01, 0], [0, 1, 0], [0, 0.5, 1]])
    found = retrieval(image, text)
    assert found["text_to_image_r1"] == pytest.approx(2 / 3)
    assert found["image_to_text_r1"] == pytest.approx(2 / 3)
    assert found["text_to_image_r5"] == 1.0


def test_held_out_figures_are_means_over_pairs_of_all_batches():
    """Two batches of two and one: the loss weighs pairs, texts go kind by kind, and the ways of retrieval differ."""

    class Told(Grammar):
        def loss(self, image, more_image, states, features, extra, scale):
            return scale * states.sum(), {"pairs": torch.tensor(float(len(image)))}

        def validate(self, texts, states, extra):
            assert states.flatten().tolist() == [float(ord(text)) for text in texts]
            return {"order": float("".join(texts) == "abcxyz")}

    text, image = unit([[1, 0], [0, 1], [0.9, 0.44]]).float(), unit([[1, 0], [1, 0.3], [1, 0.2]]).float()
    ranks = [[int((row > row[i]).sum()) for i, row in enumerate(table)] for table in (text @ image.T, image @ text.T)]
    states = {letter: torch.tensor([float(ord(letter))]) for letter in "abcxyz"}
    parts = []
    for position, own, wrong in ((0, "ab", "xy"), (2, "c", "z")):
        rows = slice(position, position + len(own))
        texts = [*own, *wrong]
        features = torch.cat([text[rows], torch.zeros(len(wrong), 2)])
        part = EncodedBatch(
            position, len(own), texts, torch.stack([states[t] for t in texts]), features, image[rows], None
        )
        parts.append(part)
    found = figures_of(parts, Told(), nn.ModuleDict(), torch.tensor(2.0))
    losses = [2.0 * sum(float(states[letter]) for letter in letters) for letters in ("abxy", "cz")]
    assert found["loss"] == pytest.approx((2 * losses[0] + losses[1]) / 3)
    assert found["pairs"] == pytest.approx(5 / 3)
    assert found["order"] == 1.0
    assert found["text_to_image_r1"] == pytest.approx(sum(rank < 1 for rank in ranks[0]) / 3)
    assert found["image_to_text_r1"] == pytest.approx(sum(rank < 1 for rank in ranks[1]) / 3)
    assert found["text_to_image_r1"] != found["image_to_text_r1"]


def test_vit_b_32_has_the_published_number_of_trained_parameters():
    with torch.device("meta"):
        model = import_open_clip().CLIP(**VIT_B_32)
        extra = Grammar().prepare(model)
    named = {**dict(model.named_parameters()), **dict(extra.named_parameters())}
    trained = {name: p.numel() for name, p in named.items() if p.requires_grad}
    head = {name: number for name, number in trained.items() if name.startswith("grammar_head")}
    assert sum(head.values()) == 263_168
    assert sum(trained.values()) == 63_691_265
    assert not any(name.startswith("visual") for name in trained)


def towers():
    clip = load_clip("scenes-clip")
    extra = prepare_model(clip, Grammar(), seed=0)
    return Towers(clip, extra, "A photo depicts ")


def test_which_parameters_decay():
    trained = towers().trained()
    named = {name_of(name): p for name, p in trained.named_parameters()}
    published = {n for n, p in trained.named_parameters() if decays_as_published(n, p)}
    assert {name_of(n) for n in published} == {name for name in named if "bias" not in name}
    assert {"logit_scale", "ln_final.weight", "token_embedding.weight", "grammar_head.0.weight"} <= {
        name_of(n) for n in published
    }
    matrices = {name for name, p in named.items() if is_matrix(name, p)}
    assert "logit_scale" not in matrices
    assert "ln_final.weight" not in matrices
    assert {"text_projection", "positional_embedding", "grammar_head.2.weight"} <= matrices
    groups = adamw(trained, UpdatesConfig(steps=1, weight_decay=0.1), decays_as_published).param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert [len(group["params"]) for group in groups] == [len(published), len(named) - len(published)]


def test_texts_in_chunks_have_the_same_gradient():
    found = towers()
    texts = ["a red boat", "two dogs run over a field at night", "a lamp"]
    gradients = []
    for chunk in (None, 2):
        found.chunk = chunk
        read = found.text(texts)
        assert read.states.shape == (3, 96)
        (read.states.square().sum() + read.features[:, 0].sum()).backward()
        weight = found.model.transformer.resblocks[0].mlp.c_fc.weight
        gradients.append((read.tokens, weight.grad.clone(), read.states.detach()))
        weight.grad = None
    assert gradients[0][0] == gradients[1][0]
    torch.testing.assert_close(gradients[0][1], gradients[1][1], atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(gradients[0][2], gradients[1][2], atol=1e-5, rtol=1e-5)


def test_features_are_those_of_the_model_after_the_prompt():
    found = towers()
    found.train(False)
    texts = ["two dogs run over a field at night", "a lamp", "a red boat", "a lamp and two dogs"]
    together, alone = found.text(texts), [found.text([text]) for text in texts]
    for which in ("states", "features"):  # like lengths go through the tower together, and come back in their own order
        each = torch.cat([getattr(read, which).detach() for read in alone])
        torch.testing.assert_close(getattr(together, which).detach(), each, atol=1e-5, rtol=1e-5)
    clip = load_clip("scenes-clip")
    wanted = torch.nn.functional.normalize(
        clip.model.encode_text(clip.tokenizer(["A photo depicts a red boat"])), dim=-1
    )
    torch.testing.assert_close(found.text(["a red boat"]).features.detach(), wanted, atol=1e-5, rtol=1e-5)


def test_a_custom_text_tower_is_tuned_as_well():
    """``CustomTextCLIP`` keeps its text side in a module of its own, and may have a bias that InfoNCE knows nothing of."""
    small = {"context_length": 16, "vocab_size": 60, "width": 64, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    config = {"embed_dim": 32, "quick_gelu": False, "vision_cfg": vision, "text_cfg": small, "custom_text": True}
    fresh = import_open_clip().CustomTextCLIP(32, vision, small, init_logit_bias=-10.0)
    model = build_model({**config, "init_logit_bias": -10.0}, fresh.state_dict(), "here").requires_grad_(True)
    extra = Grammar().prepare(model)
    assert extra["grammar_head"][0].weight.shape == (64, 64)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert {name.split(".")[0] for name in frozen} == {"visual", "logit_bias"}
    assert all(p.requires_grad for name, p in model.named_parameters() if name.startswith("text."))
