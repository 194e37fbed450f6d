"""What a GPU computes against what the CPU does; ``benchmarks/gpu.py`` runs it there.

CAPREWARD_SECOND_DEVICE=cpu compares the CPU with itself, which proves that the tests themselves work.
"""

from __future__ import annotations

import math
import os

import pytest
import torch
from accelerate.state import AcceleratorState
from decoding_helpers import Words, grid
from rounding import check_close
from train_helpers import column, fields, rows, train, weights

import capreward
from capreward.data.scenes import picture_of, scene
from trainers.decoding import beam_search, greedy, sample

DEVICE = os.environ.get("CAPREWARD_SECOND_DEVICE", "cuda")
AUTO = "cuda" if torch.cuda.is_available() else "cpu"
HERE = DEVICE == "cpu" or torch.cuda.is_available()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not HERE, reason="torch sees no CUDA device here")]
WORDS = Words(90, 87, 88, 89)


@pytest.fixture(autouse=True)
def exact_convolutions():
    """cuDNN rounds the inputs of float32 convolutions to TF32 by default, which is no rounding of fp32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cudnn.allow_tf32 = before


@pytest.fixture(scope="module")
def samples():
    scenes = [scene("test", index) for index in range(12)]
    items = [item for item in range(12) for _ in range(3)]
    captions = [c for one in scenes for c in (*one.captions[:2], "a red a red a a")]
    references = [list(one.captions[2:]) for one in scenes]
    return capreward.Samples(captions, references=references, images=[picture_of(s.key) for s in scenes], item=items)


def on(device, captioner, memory):
    return captioner.to(device), type(memory)(memory.states.to(device))


def captioner():
    """A captioner some of whose captions end, and its memory; on the CPU."""
    return grid(6, WORDS, images=12, end=4, rise=3.0)


@pytest.mark.parametrize("expression", ["clips", "refclips", "pacs", "grammar"])
def test_scores_are_those_of_the_cpu(samples, expression):
    checkpoint = {"pacs": "scenes-pacs", "grammar": "scenes-grammar"}.get(expression, "scenes-clip")
    options = {"checkpoint": checkpoint, "precision": "fp32"}
    expected = capreward.load(expression, device="cpu", **options)(samples)
    found = capreward.load(expression, device=DEVICE, **options)(samples)
    assert found.device.type == DEVICE
    assert float(expected.std()) > 0.01
    check_close(found.cpu(), expected)


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_captions_are_those_of_the_cpu(method):
    def decoded(device):
        model, memory = on(device, *captioner())
        if method == "greedy":
            return greedy(model, memory, max_length=16)
        if method == "beam":
            return beam_search(model, memory, beams=4, candidates=3, max_length=16)
        generator = torch.Generator().manual_seed(5)
        return sample(model, memory, candidates=3, max_length=16, generator=generator)

    expected, found = decoded("cpu"), decoded(DEVICE)
    assert found.tokens.device.type == DEVICE
    assert len(expected.lengths.unique()) > 1
    assert found.tokens.tolist() == expected.tokens.tolist()
    assert found.finished.tolist() == expected.finished.tolist()
    check_close(found.scores.cpu(), expected.scores)


def test_logprobs_and_gradients_are_those_of_the_cpu():
    def learned(device, tokens=None):
        model, memory = on(device, *captioner())
        rows = greedy(model, memory, max_length=16).tokens.flatten(0, 1) if tokens is None else tokens.to(device)
        logprobs = model.logprobs(memory, rows)
        logprobs.sum(1).exp().sum().backward()  # likelihoods: what each caption counts differs
        gradients = {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}
        return rows.cpu(), logprobs.detach().cpu(), gradients

    tokens, expected, gradients = learned("cpu")
    _, found, theirs = learned(DEVICE, tokens)
    check_close(found, expected)
    assert len(gradients) > 20
    for name, gradient in gradients.items():
        check_close(theirs[name], gradient)


def test_auto_is_the_gpu_where_there_is_one(samples):
    values = capreward.load("clips", checkpoint="scenes-clip")(samples)
    assert values.device.type == AUTO
    assert values.isfinite().all()


@pytest.fixture
def any_precision():
    """A process trains at one precision, unless accelerate forgets it."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_a_run_learns_in_bf16_and_watches_its_reward_where_it_trains(tmp_path, any_precision):
    """The device is left to the run, where it may be the GPU."""
    dico = ["--optimizer", "dico", "--reward", "pacs", "--captioner", "scenes", "--precision", "bf16", "--steps", "2"]
    small = [*fields("optimizer", max_length=12, candidates=2), *fields("diagnostics", every=1, novelty=False)]
    config = {"data": {"count": 8, "val": None}, "training": {"batch_size": 4}, "logging": {"every": 1}}
    device = ["--device", "cpu"] if DEVICE == "cpu" else []
    train(tmp_path, *dico, *small, *device, config=config)
    assert AcceleratorState().device.type == DEVICE
    assert AcceleratorState().mixed_precision == "bf16"
    assert column(tmp_path / "run", "step") == [1, 2]
    told = rows(tmp_path / "run", "train")[-1]
    assert all(math.isfinite(told[name]) for name in ("loss", "reward", "judge"))
    assert all(value.isfinite().all() for value in weights(tmp_path / "run").values())
