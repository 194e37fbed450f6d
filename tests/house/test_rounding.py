"""What the tests' one tolerance admits and what it does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from clip_files import check_features, small_clip
from rounding import check_close


def test_another_order_of_adding_is_no_difference():
    numbers = torch.randn(50, 3000, generator=torch.Generator().manual_seed(0))
    forward, backward = sum(numbers.T), sum(numbers.T.flip(0))
    assert not torch.equal(forward, backward)
    check_close(forward, backward)
    check_close(forward, numbers.double().sum(1))
    check_close([1.0, float("nan")], np.array([1.0 + 1e-15, np.nan]), torch.float64)


@pytest.mark.parametrize(
    ("mine", "theirs", "precision"),
    [
        ([1.0, 2.0], [1.0, 2.0001], torch.float32),
        ([1e-4, 2e-4], [1e-4, 2.001e-4], torch.float32),
        ([1.0, 2.0], [1.0, 2.0 + 1e-12], torch.float64),
        ([1.0, float("nan")], [1.0, 2.0], torch.float32),
        ([1.0, 2.0], [1.0], torch.float32),
        ([[1.0], [1.0]], [1.0], torch.float32),
        ([1e-9], [0.0], torch.float32),
    ],
)
def test_anything_else_is_one(mine, theirs, precision):
    with pytest.raises(AssertionError):
        check_close(mine, theirs, precision)


@pytest.mark.parametrize(
    "name",
    ["visual.conv1.weight", "visual.class_embedding", "transformer.resblocks.1.mlp.c_fc.bias", "ln_final.weight"],
)
def test_a_weight_rounded_to_half_precision_shows_in_the_features(name):
    model, rounded = small_clip(), small_clip()
    check_features(rounded, model)
    state = rounded.state_dict()
    state[name].copy_(state[name].half())
    with pytest.raises(AssertionError):
        check_features(rounded, model)
