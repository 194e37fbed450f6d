"""The positive-augmented objective of PAC-S and PAC-S++."""

from __future__ import annotations

import math
import random

import pytest
import torch
from clip_files import RESNET, check_features, pixels, small_clip, tokens
from torch.nn.functional import normalize

from capreward.encoders.model.text_tower import projected, text_states
from capreward.errors import InputError
from trainers.tuning.augmented_objective import PositiveAugmented
from trainers.tuning.objective import OBJECTIVES, Pairs


def trainable(model):
    return {name for name, value in model.named_parameters() if value.requires_grad}


def unit(seed, rows, size=5):
    return normalize(
        torch.randn(rows, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=-1
    )


def nce(image, text, scale):
    """Radford et al., figure 3, row by row."""
    total = 0.0
    for one, other in ((image, text), (text, image)):
        for i in range(len(one)):
            logits = [float(scale * one[i] @ other[j]) for j in range(len(one))]
            total += math.log(sum(math.exp(x) for x in logits)) - logits[i]
    return total / (2 * len(image))


def test_it_is_registered():
    assert OBJECTIVES["pac"][0] == "trainers.tuning.augmented_objective:PositiveAugmented"
    assert (PositiveAugmented.name, PositiveAugmented.needs_images, PositiveAugmented.wants_more) == ("pac", True, True)


def test_projections_alone_are_trained():
    model = small_clip().requires_grad_(True)
    assert len(PositiveAugmented().prepare(model)) == 0
    assert trainable(model) == {"visual.proj", "text_projection"}
    resnet = small_clip(vision=RESNET).requires_grad_(True)
    PositiveAugmented().prepare(resnet)
    assert trainable(resnet) == {"visual.attnpool.c_proj.weight", "visual.attnpool.c_proj.bias", "text_projection"}


def test_a_tower_without_a_projection():
    model = small_clip()
    del model.visual.proj
    with pytest.raises(InputError, match=r"the image tower has no projection \(visual.proj"):
        PositiveAugmented().prepare(model)


def test_texts_are_captions_then_generated_ones():
    pairs = Pairs(None, ["a", "b"], None, ["c", "d"])
    chances = [random.Random(0)] * 2
    assert PositiveAugmented().texts(pairs, chances) == ["a", "b", "c", "d"]
    assert PositiveAugmented(text_weight=0).texts(pairs, chances) == ["a", "b"]
    with pytest.raises(InputError, match="a generated caption for each of 2 pairs, found none"):
        PositiveAugmented().texts(Pairs(None, ["a", "b"]), chances)
    with pytest.raises(InputError, match="found 1; give more_captions, or text_weight: 0"):
        PositiveAugmented().texts(Pairs(None, ["a", "b"], None, ["c"]), chances)


def test_the_loss_is_the_weighted_sum():
    """L(v, t) + 0.05 L(v', t) + 0.1 L(v, t'), each by its plain definition."""
    v, w, t, u, scale = unit(1, 4), unit(2, 4), unit(3, 4), unit(4, 4), torch.tensor(7.0, dtype=torch.float64)
    nothing = torch.nn.ModuleDict()
    loss, stats = PositiveAugmented().loss(v, w, torch.empty(0), torch.cat([t, u]), nothing, scale)
    assert loss.item() == pytest.approx(nce(v, t, scale) + 0.05 * nce(w, t, scale) + 0.1 * nce(v, u, scale), abs=1e-9)
    assert stats["clip_loss"].item() == pytest.approx(nce(v, t, scale), abs=1e-9)
    other = PositiveAugmented(image_weight=0.3, text_weight=0)
    loss, _ = other.loss(v, w, torch.empty(0), t, nothing, scale)
    assert loss.item() == pytest.approx(nce(v, t, scale) + 0.3 * nce(w, t, scale), abs=1e-9)
    other = PositiveAugmented(image_weight=0, text_weight=2.0)
    loss, _ = other.loss(v, None, torch.empty(0), torch.cat([t, u]), nothing, scale)
    assert loss.item() == pytest.approx(nce(v, t, scale) + 2 * nce(v, u, scale), abs=1e-9)


def test_what_the_loss_wants():
    v, nothing, scale = unit(1, 2), torch.nn.ModuleDict(), torch.tensor(1.0)
    with pytest.raises(InputError, match="the pac recipe wants images; give them$"):
        PositiveAugmented().loss(None, None, torch.empty(0), torch.cat([v, v]), nothing, scale)
    with pytest.raises(InputError, match="wants generated images; give them, or image_weight: 0"):
        PositiveAugmented().loss(v, None, torch.empty(0), torch.cat([v, v]), nothing, scale)


@pytest.mark.parametrize("adapt", ["projections", "lora"])
def test_a_few_steps_lower_the_loss_and_fold(adapt):
    """Ten plain steps on one batch; the folded weights give the tuned model's features, the rest stayed."""
    torch.manual_seed(0)
    model, before = small_clip().requires_grad_(True), small_clip()
    objective = PositiveAugmented(adapt, rank=2, alpha=4.0, image_weight=0.2, text_weight=0.2)
    extra = objective.prepare(model)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, weight_decay=0)
    losses = []
    for _ in range(10):
        states = text_states(model, tokens().repeat(2, 1))
        text = normalize(projected(model, states), dim=-1)
        image, more = (normalize(model.encode_image(pixels(model, seed=s)), dim=-1) for s in (1, 2))
        loss, _ = objective.loss(image, more, states, text, extra, torch.tensor(10.0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    state = objective.folded(model, extra)
    plain = small_clip()
    plain.load_state_dict(state)
    check_features(plain, model)
    moved = {name for name, value in before.state_dict().items() if not torch.equal(value, state[name])}
    if adapt == "projections":
        assert moved == {"visual.proj", "text_projection"}
    else:
        assert len(moved) == 17
        assert not moved & {"visual.proj", "text_projection", "logit_scale", "token_embedding.weight"}
    assert objective.validate([], torch.empty(0), extra) == {}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"adapt": "all"}, r"adapt is 'all'; projections \(PAC-S\) and lora \(PAC-S\+\+\) are known"),
        ({"image_weight": -0.1}, "are -0.1 and 0.1; 0 or more, and one above 0"),
        ({"image_weight": 0, "text_weight": 0}, "are 0 and 0; 0 or more, and one above 0"),
    ],
)
def test_bad_options(options, says):
    with pytest.raises(InputError, match=says):
        PositiveAugmented(**options)
