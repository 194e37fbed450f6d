"""What ``gpu.py`` measures, part by part: each part takes a :class:`Given` and returns its figures.

``holds`` among a part's figures says what must be true of them; ``gpu.py`` fails where something of it is not. On a
machine without CUDA the second device is the CPU too.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count, islice
from pathlib import Path
from typing import Any

import clip_score
import decoding
import torch
import train_step
from common import ROOT, peak
from torch import Tensor

import capreward
from capreward.data.scenes import picture_of, scene
from trainers.decoding import decode

sys.path.insert(0, str(ROOT / "tests" / "helpers"))
import train_helpers
from clip_helpers import SMALL as SMALL_CLIP
from rounding import tolerance

SEED = 0
PRECISIONS = ("bf16", "fp16")
SECOND_DEVICE = "CAPREWARD_SECOND_DEVICE"  # what the tests of the mark ``gpu`` compare with the CPU


@dataclass(frozen=True)
class Size:
    """How much is measured: on a GPU by default.

    Attributes:
        pictures: of scenes whose captions are scored by the CLIP that ships.
        compared: images that the CLIP with random weights scores on both devices.
        images: that CLIP-S is timed on.
        models: of CLIP-S, the first of which is compared with the CPU.
        cases: of decoding, by their names in ``decoding.py``.
        decoded: images that are decoded.
        stepped: images of a DiCO step.
        model: that a DiCO step trains.
        batch: images of a step of the run.
        runs: repetitions of what is timed.
    """

    pictures: int = 200
    compared: int = 16
    images: int = 256
    models: dict[str, Any] = field(default_factory=lambda: {name: name for name in ("ViT-B-32", "ViT-L-14")})
    cases: tuple[str, ...] = ("dico", "scenes", "small")
    decoded: int = 64
    stepped: int = 32
    model: train_step.Model = train_step.DICO
    batch: int = 32
    runs: int = 3


FULL = Size()
SMALL = Size(
    pictures=4,
    compared=2,
    images=2,
    models={"small": SMALL_CLIP},
    cases=("small",),
    decoded=2,
    stepped=2,
    model=train_step.SMALL,
    batch=4,
    runs=1,
)
STEPS, STOPPED = 4, 2


@dataclass(frozen=True)
class Given:
    """What every part is given.

    Attributes:
        size: how much is measured.
        device: ``cuda``, or ``cpu`` where there is none.
        folder: for weights and runs, which goes when the script ends.
        seconds_left: until the time of the whole script is up.
    """

    size: Size
    device: str
    folder: Path
    seconds_left: Callable[[], float]


@contextmanager
def convolutions(*, tf32: bool) -> Iterator[None]:
    """Whether cuDNN may round the inputs of float32 convolutions to TF32, which it does by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def score_parity(given: Given) -> dict[str, Any]:
    """CLIP-S on the device against fp32 on the CPU: trained weights on pictures of scenes, random ones on tensors."""
    size = given.size
    scenes = [scene("test", index) for index in range(size.pictures)]
    items = [item for item, one in enumerate(scenes) for _ in one.captions]
    pictures = [picture_of(one.key) for one in scenes]
    samples = capreward.Samples([c for one in scenes for c in one.captions], images=pictures, item=items)
    name, model = next(iter(size.models.items()))
    subject = clip_score.Subject(given.folder / name, model, "cpu", captions(5 * size.compared), size.compared)
    found = {
        "scenes-clip": _precisions("scenes-clip", samples, given.device),
        name: _precisions(f"local-dir:{given.folder / name}", subject.samples(5), given.device, raw=True),
    }
    return {
        **found,
        "holds": {f"{name}_fp32": row["fp32"]["largest"] <= row["rounding"] for name, row in found.items()},
    }


def _precisions(checkpoint: str, samples: capreward.Samples, device: str, **options: Any) -> dict[str, Any]:
    """The differences of the values of one evaluator at every precision; ``rounding`` is what fp32 may differ by."""

    def values(device: str, precision: str) -> Tensor:
        evaluator = capreward.load("clips", checkpoint=checkpoint, device=device, precision=precision, **options)
        found: Tensor = evaluator(samples)
        return found.cpu()

    expected = values("cpu", "fp32")
    with convolutions(tf32=False):
        figures: dict[str, Any] = {"fp32": difference(values(device, "fp32"), expected)}
    with convolutions(tf32=True):
        figures["fp32_tf32_convolutions"] = difference(values(device, "fp32"), expected)
        figures |= {name: difference(values(device, name), expected) for name in PRECISIONS}
    largest = float(expected.abs().max())
    # The terms of a cosine are those of unit vectors, however small their sum.
    return {"captions": len(expected), "largest": largest, "rounding": tolerance(scale=max(1.0, largest)), **figures}


def difference(found: Tensor, expected: Tensor) -> dict[str, float]:
    """The largest and the mean absolute difference."""
    gaps = (found.double() - expected.double()).abs()
    return {"largest": float(gaps.max()), "mean": float(gaps.mean())}


def captions(wanted: int) -> list[str]:
    """Different captions of scenes."""
    texts: dict[str, None] = {}
    for index in count():
        texts |= dict.fromkeys(scene("train", index).captions)
        if len(texts) >= wanted:
            return list(islice(texts, wanted))
    raise AssertionError("the scenes never end")


def decoding_parity(given: Given) -> dict[str, Any]:
    """Tokens and log-probabilities on the device against fp32 on the CPU."""
    figures: dict[str, Any] = {}
    holds = {}
    for name in given.size.cases:
        rows = figures[name] = _decoded_alike(decoding.CASES[name], given)
        holds[f"{name}_fp32"] = rows["fp32"]["logprobs"]["largest"] <= rows["rounding"]
    return {**figures, "holds": holds}


def _decoded_alike(case: Any, given: Given) -> dict[str, Any]:
    expected = _decoded(case, given.size.decoded, "cpu", torch.float32)
    written = expected["greedy"].flatten(0, 1)
    logprobs = _logprobs(case, given.size.decoded, "cpu", torch.float32, written)
    # A log-probability is a logit less the logarithm of a sum over the vocabulary.
    scale = float(logprobs.abs().max()) + math.log(case.build(1, "cpu", torch.float32)[0].vocabulary.size)
    figures: dict[str, Any] = {"rounding": tolerance(scale=scale)}
    for precision, dtype in decoding.DTYPES.items():
        found = _decoded(case, given.size.decoded, given.device, dtype)
        figures[precision] = {
            "same_captions": {method: decoding.same_share(found[method], expected[method]) for method in found},
            "logprobs": difference(_logprobs(case, given.size.decoded, given.device, dtype, written), logprobs),
        }
    return figures


def _decoded(case: Any, images: int, device: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """The tokens of all methods; samples are drawn by numbers that the CPU makes, so they are the same everywhere."""
    captioner, memory = case.build(images, device, dtype)
    found = {}
    for method, settings in decoding.METHODS.items():
        settings = replace(settings, max_length=case.max_length, min_length=case.min_length)
        generator = torch.Generator().manual_seed(SEED)
        found[method] = decode(captioner, memory, settings, generator=generator).tokens.cpu()
    return found


def _logprobs(case: Any, images: int, device: str, dtype: torch.dtype, tokens: Tensor) -> Tensor:
    """Of given tokens, one row for each image."""
    captioner, memory = case.build(images, device, dtype)
    with torch.no_grad():
        found: Tensor = captioner.logprobs(memory, tokens.to(device)).cpu()
    return found


def clip_speed(given: Given, name: str, precision: str) -> dict[str, Any]:
    """CLIP-S against the bare forward, from tensors that lie on the device, and what both take of its memory."""
    size, device = given.size, given.device
    texts = captions(20 * size.images)
    subject = clip_score.Subject(
        given.folder / name, size.models[name], device, texts, size.images, precision=precision
    )
    figures = clip_score.forward(subject, size.runs)
    if device != "cpu":
        figures["ours_peak_mb"] = peak(lambda: subject.score(5), device)
        figures["bare_peak_mb"] = peak(lambda: subject.bare(5, 256), device)
    return {"images": size.images, **figures}


def decoding_speed(given: Given, name: str, precision: str) -> dict[str, Any]:
    """Decoding against transformers with the same weights."""
    size = given.size
    asked = Namespace(images=size.decoded, device=given.device, dtype=precision, runs=size.runs, profile=False)
    return {"images": size.decoded, **decoding.compare(decoding.CASES[name], asked)}


def dico_step(given: Given, length: str) -> dict[str, Any]:
    """A DiCO step against the same step with transformers, both in this process."""
    size = given.size
    arguments = (size.stepped, given.device, size.runs, length, size.model)
    found = {side: train_step.measure(side, *arguments) for side in ("ours", "peer")}
    return {"images": size.stepped, **train_step.verdict(found, length, size.stepped)}


def resumed_run(given: Given) -> dict[str, Any]:
    """DiCO on scenes in bf16: a run without a stop, and one that ends earlier and is taken up again."""
    small = given.size is SMALL
    config = {
        "captioner": {"init": "scenes"},
        "optimizer": {"name": "dico", **({"candidates": 2, "max_length": 12} if small else {})},
        "reward": {"expression": "pacs", "monitors": "cider-d"},
        "data": {"count": 8 * given.size.batch, "val_count": 4 if small else 40},
        "training": {"batch_size": given.size.batch, "precision": "bf16"},
        "evaluation": {"every": STEPS, "metrics": "cider,pacs", "beams": 2},
        "checkpoint": {"every": STOPPED},
        "diagnostics": {"every": STOPPED, "novelty": False},
        "logging": {"every": 1},
        "device": given.device,
    }
    runs = given.folder / "runs"
    runs.mkdir()

    def train(run: str, steps: int) -> str:
        told: str = train_helpers.train(runs, "--steps", str(steps), run=run, config=config)
        return told

    memory = peak(lambda: train("whole", STEPS), given.device)
    train("cut", STOPPED)
    stopped_at = train_helpers.column(runs / "cut", "step")[-1]
    went_on = f"going on from step {STOPPED} of {STEPS}" in train("cut", STEPS)
    losses = {run: train_helpers.column(runs / run, "loss") for run in ("whole", "cut")}
    steps = train_helpers.column(runs / "cut", "step")
    gaps = [abs(mine - theirs) for mine, theirs in zip(losses["cut"], losses["whole"], strict=True)]
    return {
        "stopped_at": stopped_at,
        "ended_at": steps[-1],
        "losses": losses,
        "loss_difference": max(gaps),
        "weight_difference": train_helpers.farthest(runs / "cut", runs / "whole"),
        "tokens_per_s": train_helpers.column(runs / "whole", "tokens/s"),
        "peak_mb": memory,
        "holds": {
            "stopped_and_went_on": stopped_at == STOPPED and went_on,
            "ended_at_the_step": steps == [*range(1, STEPS + 1)],
            "finite": all(math.isfinite(loss) for run in losses.values() for loss in run),
        },
    }


def tests(given: Given) -> dict[str, Any]:
    """The tests of the mark ``gpu``; without CUDA they compare the CPU with itself."""
    report = given.folder / "tests.xml"
    files = sorted(str(path) for path in (ROOT / "tests").glob("test_gpu*.py") if path.stem != "test_gpu_script")
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-p", "no:cacheprovider", f"--junit-xml={report}", *files]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, SECOND_DEVICE: given.device}
    timeout = max(1.0, given.seconds_left())
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )
    if not report.exists():
        raise RuntimeError(f"pytest made no report: {(done.stdout + done.stderr)[-2000:]}")
    attributes = next(ElementTree.parse(report).getroot().iter("testsuite")).attrib
    counts = {name: int(attributes[name]) for name in ("tests", "failures", "errors", "skipped")}
    passed = counts["tests"] - counts["failures"] - counts["errors"] - counts["skipped"]
    told = {"output": done.stdout[-4000:]} if done.returncode else {}
    return {"passed": passed, **counts, **told, "holds": {"passed": done.returncode == 0 and passed > 0}}
