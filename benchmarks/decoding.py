"""Decoding against transformers' generate with the same weights, in one run on one machine.

    python benchmarks/decoding.py [--device cpu] [--dtype fp32] [--images 64] [--runs 3] [--only dico,scenes,small]

Speed depends on weights by the lengths of captions alone. ``dico`` is DiCO's decoder with random weights and its whole
vocabulary, all captions of 30 tokens, since neither side may end one; ``scenes`` is the captioner that ships, on test
pictures, whose captions end where they end; ``small`` is of like size with random weights, and its end token is as
likely as makes captions of 10 to 15 tokens. Both sides start from the same encoder states. Before anything is timed,
both must give the same tokens; in half precision, and on a GPU, whose kernels differ, close choices may fall otherwise,
and how many captions agree is kept. On a GPU the most memory that each takes above what stood before it is kept, too.
Ratios are the peer's time divided by ours, both measured in turn.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from common import ROOT, against, options, peak, save

from trainers.captioners.base import Memory
from trainers.captioners.grid import GridCaptioner, GridSizes
from trainers.captioners.towers import StoredTower
from trainers.decoding import Decoding, decode

sys.path.insert(0, str(ROOT / "tests" / "helpers"))
from decoding_helpers import Words, transformers_decode, transformers_twin

SEED = 0
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Case:
    """A captioner and how long its captions are.

    Attributes:
        words: its vocabulary.
        sizes: of the captioner.
        tokens: S, of the memory.
        min_length: of captions; ``max_length`` where none may end.
        max_length: of captions.
        spread: of the logits, by which captions differ.
        typical: place of a caption's end.
        rise: of the end token's logit with every place, which passes 0 at the typical one.
        variety: how much more than those of others the end token's logit varies from image to image and place to place.
    """

    words: Words
    sizes: GridSizes
    tokens: int
    min_length: int
    max_length: int
    spread: float
    typical: int = 0
    rise: float = 0.0
    variety: float = 1.0

    def build(self, images: int, device: str, dtype: torch.dtype) -> tuple[GridCaptioner, Memory]:
        """The captioner with random weights, and a memory."""
        torch.manual_seed(SEED)
        tower = StoredTower((self.tokens, self.sizes.width))
        captioner = GridCaptioner(tower, self.words, self.sizes).eval()
        with torch.no_grad():
            for name, weights in captioner.named_parameters():
                if "norm" not in name:
                    weights.mul_(5)
            captioner.words.weight.normal_(std=self.spread / self.sizes.width**0.5)
            places = torch.arange(self.sizes.longest).unsqueeze(1)
            end = captioner.words.weight[self.words.eos]
            end.mul_(self.variety)
            captioner.positions.weight.add_((places - self.typical) * self.rise * end / end.norm())
        states = torch.randn(images, self.tokens, self.sizes.width)
        return captioner.to(device, dtype), Memory(states.to(device, dtype))


@dataclass(frozen=True)
class Shipped:
    """The captioner of the scenes world.

    Attributes:
        min_length: of captions.
        max_length: of captions: all that it has places for.
    """

    min_length: int = 0
    max_length: int = 48

    def build(self, images: int, device: str, dtype: torch.dtype) -> tuple[GridCaptioner, Memory]:
        """The captioner, and the memory of test pictures."""
        from capreward.data.scenes import scene
        from trainers.captioners.layouts.loading import open_captioner

        captioner = open_captioner("scenes")
        pixels = torch.stack([torch.from_numpy(scene("test", index).draw()) for index in range(images)])
        with torch.no_grad():
            memory = captioner.encode(captioner.look(pixels))
        captioner.to(device, dtype)
        return captioner, Memory(memory.states.to(device, dtype))


CASES: dict[str, Case | Shipped] = {
    "dico": Case(
        Words(49_409, 49_406, 49_407, 49_408),
        GridSizes(width=512, heads=8, inner=2048, encoder_layers=0, decoder_layers=3),
        tokens=257,
        min_length=29,
        max_length=30,
        spread=2.0,
    ),
    "scenes": Shipped(),
    "small": Case(
        Words(1024, 1021, 1022, 1023),
        GridSizes(width=128, heads=4, inner=512, encoder_layers=0, decoder_layers=2, longest=40),
        tokens=65,
        min_length=0,
        max_length=30,
        spread=2.5,
        typical=6,
        rise=0.3,
        variety=3.0,
    ),
}
METHODS = {
    "beam5": Decoding(beams=5, candidates=5, rules="transformers", suppress=False),
    "greedy": Decoding(method="greedy", suppress=False),
    "sample5": Decoding(method="sample", candidates=5, suppress=False),
}


def compare(case: Case | Shipped, given: argparse.Namespace) -> dict[str, Any]:
    """All methods on one captioner."""
    captioner, memory = case.build(given.images, given.device, DTYPES[given.dtype])
    peer = transformers_twin(captioner).to(given.device, DTYPES[given.dtype])
    figures = {}
    for name, settings in METHODS.items():
        settings = replace(settings, max_length=case.max_length, min_length=case.min_length)
        figures[name] = _method(captioner, memory, peer, settings, given)
        print(f"{name:8} {json.dumps(figures[name])}", flush=True)
    return figures


def _method(
    captioner: GridCaptioner, memory: Memory, peer: Any, settings: Decoding, given: argparse.Namespace
) -> dict[str, Any]:
    wait = torch.cuda.synchronize if given.device != "cpu" else lambda: None
    asked: dict[str, Any] = {"max_length": settings.max_length, "min_length": settings.min_length}
    if settings.method == "sample":
        asked |= {"do_sample": True, "top_k": 0, "num_return_sequences": settings.per_image}
    else:
        beams = settings.beams if settings.method == "beam" else 1
        asked |= {"do_sample": False, "num_beams": beams, "num_return_sequences": settings.per_image}

    def ours() -> torch.Tensor:
        generator = torch.Generator(given.device).manual_seed(SEED)
        found = decode(captioner, memory, settings, generator=generator)
        wait()
        return found.tokens

    def theirs() -> torch.Tensor:
        found: torch.Tensor = transformers_decode(peer, memory, **asked)
        wait()
        return found.view(len(memory), settings.per_image, -1)

    figures: dict[str, Any] = {}
    if settings.method != "sample":
        figures["same_captions"] = same_share(ours(), theirs())
        if given.dtype == "fp32" and given.device == "cpu" and figures["same_captions"] < 1:
            sys.exit(f"{settings.method}: not the same tokens; {figures['same_captions']} of the captions agree")
    lengths = decode(captioner, memory, settings).lengths.float()
    figures["mean_tokens"] = float(lengths.mean())
    figures |= against(ours, theirs, runs=given.runs)
    figures["images_per_s"] = len(memory) / figures["ours_s"]
    if given.device != "cpu":
        figures |= {"ours_peak_mb": peak(ours, given.device), "peer_peak_mb": peak(theirs, given.device)}
    if given.profile:
        _profile(ours)
    return figures


def same_share(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The share of captions that are the same."""
    if ours.shape != theirs.shape:
        width = min(ours.shape[-1], theirs.shape[-1])
        ours, theirs = ours[..., :width], theirs[..., :width]
    return float((ours == theirs).all(-1).float().mean())


def _profile(work: Callable[[], Any]) -> None:
    from torch.profiler import ProfilerActivity, profile

    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * torch.cuda.is_available()
    with profile(activities=activities) as found:
        work()
    key = "self_cuda_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
    print(found.key_averages().table(sort_by=key, row_limit=16, max_name_column_width=40))


def main() -> None:
    """Run the cases asked for, print and keep their figures."""
    parser = options(__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="fp32", choices=DTYPES)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="dico,scenes,small")
    parser.add_argument("--profile", action="store_true", help="print where our time goes; keep nothing")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.backends.cuda.matmul.allow_tf32 = False
    figures: dict[str, Any] = {}
    for name in given.only.split(","):
        print(name, flush=True)
        figures[name] = compare(CASES[name], given)
    if given.profile:
        return
    figures |= {"images": given.images, "device": given.device, "dtype": given.dtype}
    figures["threads"] = torch.get_num_threads()
    if given.device != "cpu":
        figures["gpu"] = torch.cuda.get_device_name()
    suffix = "" if given.device == "cpu" else f"_{given.device.partition(':')[0]}"
    command = f"python benchmarks/decoding.py --device {given.device} --dtype {given.dtype} --images {given.images}"
    command += f" --runs {given.runs} --only {given.only}"
    print(f"kept in {save(f'decoding{suffix}', figures, command, SEED, given.out)}")


if __name__ == "__main__":
    main()
