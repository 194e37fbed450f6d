"""A DiCO step against the same step written the reference's way, in one run on one machine.

    python benchmarks/train_step.py [--device cpu] [--images 8] [--runs 3] [--only natural,longest] [--small]

DiCO's captioner (3 + 3 layers of width 512, 49,409 tokens, 257 tokens of an image), five beams of at most 30 tokens,
random weights and rewards, fp32, from the frozen tower's tokens to the gradient. Twice: with captions that end about
where those of COCO do (``natural``: the end token's logit rises with the place), and with captions of 30 tokens, none
of which ends (``longest``). The reference's way (dico.md 1.2, 6.3), with
transformers' decoder and beam search on the same weights: candidates are searched with gradients on, and their scores
are kept; logits and log-probabilities of the whole vocabulary are kept in the pass that learns, the encoder's output
repeated for every candidate; the reference policy likewise, without a gradient. Both sides see the same candidates,
and their losses must agree before anything is timed.

Each side runs in a process of its own; memory is the most that a step takes above what stood before it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from common import ROOT, options, peak, save

from trainers.captioners.grid import GridCaptioner, GridSizes
from trainers.captioners.towers import StoredTower
from trainers.captioners.vocabulary import target_mask
from trainers.decoding import beam_search
from trainers.optimizers.base import CandidateTokens
from trainers.optimizers.dico import DiCO

sys.path.insert(0, str(ROOT / "tests" / "helpers"))
from decoding_helpers import Words, transformers_decode, transformers_twin

SEED = 0
BEAMS, LONGEST = 5, 30
PAGE = 4 / 1024  # megabytes: the least that a process can be seen to take
TYPICAL, RISE = 6, 5.0  # captions of about 12 tokens, end token included


@dataclass(frozen=True)
class Model:
    """What is trained.

    Attributes:
        words: its vocabulary.
        sizes: of the captioner.
        shape: of a picture's tokens, as the tower gives them.
    """

    words: Words
    sizes: GridSizes
    shape: tuple[int, int]


DICO = Model(Words(49_409, 49_406, 49_407, 49_408), GridSizes(dropout=0.0), (257, 1024))
SMALL = Model(Words(300, 297, 298, 299), GridSizes(64, 2, 64, 1, 1, dropout=0.0), (9, 32))


def build(
    images: int, device: str, length: str, model: Model = DICO
) -> tuple[GridCaptioner, torch.Tensor, torch.Tensor]:
    """The captioner, the tower's tokens, and rewards; each side perturbs it alike once its reference is copied."""
    torch.manual_seed(SEED)
    captioner = GridCaptioner(StoredTower(model.shape), model.words, model.sizes).eval()
    with torch.no_grad():
        for name, weights in captioner.named_parameters():
            if "norm" not in name:
                weights.mul_(3)
        if length == "natural":
            end = captioner.words.weight[model.words.eos]
            places = torch.arange(captioner.sizes.longest).unsqueeze(1)
            captioner.positions.weight.add_((places - TYPICAL) * RISE * end / end.norm())
    inputs = torch.randn(images, *model.shape)
    rewards = 0.8 + 0.01 * torch.rand(images, BEAMS)
    return captioner.to(device), inputs.to(device), rewards.to(device)


def perturb(captioner: GridCaptioner) -> None:
    """Move the policy a little away from its reference, so that the loss tells whether both sides agree."""
    chance = torch.Generator().manual_seed(SEED + 1)
    with torch.no_grad():
        for weights in captioner.parameters():
            weights.mul_(1 + 0.02 * torch.randn(weights.shape, generator=chance).to(weights.device))


class Same(DiCO):
    """DiCO with transformers' rules of beam search, so that both sides have the same candidates."""

    def draw_candidates(self, captioner: Any, memory: Any, generator: torch.Generator) -> Any:
        """Five beams."""
        found = beam_search(
            captioner, memory, beams=BEAMS, candidates=BEAMS, max_length=LONGEST, rules="transformers", suppress=False
        )
        return CandidateTokens(found.tokens, target_mask(captioner.vocabulary, found.tokens), BEAMS)


class Ours:
    """The step as the loop takes it."""

    def __init__(self, captioner: GridCaptioner, inputs: torch.Tensor, rewards: torch.Tensor) -> None:
        self.captioner, self.inputs, self.rewards = captioner, inputs, rewards
        self.reference = captioner.frozen_copy()
        perturb(captioner)
        self.dico = Same(max_length=LONGEST, dropout=False, search_dropout=False)

    def __call__(self) -> float:
        """One step: candidates, both policies, the gradient."""
        with torch.no_grad():
            chance = torch.Generator(self.inputs.device)
            found = self.dico.draw_candidates(self.captioner, self.captioner.encode(self.inputs), chance)
            rows = found.learned_rows()
            reference = self.reference(self.inputs, rows)
        shape = (len(self.inputs), BEAMS, -1)
        policy = self.captioner(self.inputs, rows)
        loss, _ = self.dico.loss(policy.view(shape), reference.view(shape), found, self.rewards)
        loss.backward()
        self.tokens = int(found.mask.sum())
        return float(loss)


class Peer:
    """The same step the reference's way."""

    def __init__(self, captioner: GridCaptioner, inputs: torch.Tensor, rewards: torch.Tensor) -> None:
        self.captioner, self.inputs, self.rewards = captioner, inputs, rewards
        self.words = captioner.vocabulary
        self.frozen = transformers_twin(captioner).to(inputs.device).requires_grad_(False)
        self.old = captioner.frozen_copy()  # of the encoder
        perturb(captioner)
        self.model = transformers_twin(captioner).to(inputs.device)
        self.dico = DiCO(max_length=LONGEST)
        kind = type(self.model)
        self.model.generate = kind.generate.__wrapped__.__get__(self.model)  # without its no_grad

    def __call__(self) -> float:
        """One step: candidates with gradients, full log-probabilities of both policies, the gradient."""
        memory = self.captioner.encode(self.inputs)
        asked: dict[str, Any] = {"return_dict_in_generate": True, "output_scores": True}
        beams = {"num_beams": BEAMS, "num_return_sequences": BEAMS, "do_sample": False, "max_length": LONGEST}
        found = transformers_decode(self.model, memory, **beams, **asked)
        scores = torch.stack(found.scores)  # [29, B * 5, V], with its graph, to be thrown away
        tokens = found.sequences  # padded to 30, as the reference pads them
        tokens = torch.nn.functional.pad(tokens, (0, LONGEST - tokens.shape[1]), value=self.words.pad)
        policy = self._logprobs(self.model, self.captioner.encode(self.inputs).states, tokens)
        with torch.no_grad():
            reference = self._logprobs(self.frozen, self.old.encode(self.inputs).states, tokens)
        del scores
        shape = (len(self.inputs), BEAMS, -1)
        found = self._candidates(tokens.view(shape))
        loss, _ = self.dico.loss(policy.view(shape), reference.view(shape), found, self.rewards)
        loss.backward()
        self.tokens = int(found.mask.sum())
        return float(loss)

    def _logprobs(self, model: Any, states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        read = tokens.masked_fill(tokens == self.words.eos, self.words.pad)
        each = states.repeat_interleave(BEAMS, dim=0)
        logits = model.decoder(input_ids=read, encoder_hidden_states=each).logits
        logprobs = logits.log_softmax(-1)[:, :-1]
        targets = tokens[:, 1:]
        return logprobs.gather(-1, targets.unsqueeze(-1)).squeeze(-1) * (targets != self.words.pad)

    def _candidates(self, tokens: torch.Tensor) -> Any:
        return CandidateTokens(tokens, target_mask(self.words, tokens), BEAMS)


def measure(side: str, images: int, device: str, runs: int, length: str, model: Model = DICO) -> dict[str, Any]:
    """Seconds and memory of one side's steps in this process."""
    captioner, inputs, rewards = build(images, device, length, model)
    step = {"ours": Ours, "peer": Peer}[side](captioner, inputs, rewards)
    loss = step()
    took = []
    for _ in range(runs):
        captioner.zero_grad(set_to_none=True)
        if device != "cpu":
            torch.cuda.synchronize()
        begin = time.perf_counter()
        step()
        if device != "cpu":
            torch.cuda.synchronize()
        took.append(time.perf_counter() - begin)
    captioner.zero_grad(set_to_none=True)
    return {"loss": loss, "tokens": step.tokens, "seconds": took, "peak_mb": peak(step, device)}


def main() -> None:
    """Run both sides in turn, print and keep the figures."""
    parser = options(__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="natural,longest")
    parser.add_argument(
        "--small", action="store_true", help="a captioner of width 64 and 1,024 tokens, to see that all runs"
    )
    parser.add_argument("--side", choices=["ours", "peer"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        warnings.simplefilter("ignore")
        print(
            json.dumps(
                measure(given.side, given.images, given.device, given.runs, given.only, SMALL if given.small else DICO)
            )
        )
        return
    figures: dict[str, Any] = {length: compared(given, length) for length in given.only.split(",")}
    figures |= {"images": given.images, "threads": torch.get_num_threads()}
    suffix = "" if given.device == "cpu" else f"_{given.device.partition(':')[0]}"
    command = f"python benchmarks/train_step.py --device {given.device} --images {given.images} --runs {given.runs}"
    command += " --small" * given.small
    print(f"kept in {save(f'train_step{suffix}', figures, command, SEED, given.out)}")


def compared(given: argparse.Namespace, length: str) -> dict[str, Any]:
    """Both sides in turn, each in a process of its own."""
    found: dict[str, Any] = {}
    for side in ("ours", "peer"):
        told = ["--side", side, "--device", given.device, "--images", str(given.images), "--runs", str(given.runs)]
        command = [sys.executable, __file__, *told, "--only", length, *["--small"] * given.small]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        found[side] = json.loads(done.stdout.splitlines()[-1])
    return verdict(found, length, given.images)


def verdict(found: dict[str, Any], length: str, images: int) -> dict[str, Any]:
    """What was measured of both sides and their ratios, once it is sure that both took the same step."""
    for side, figures in found.items():
        print(length, side, figures, flush=True)
    gap = abs(found["ours"]["loss"] - found["peer"]["loss"])
    if gap > 1e-4 or found["ours"]["tokens"] != found["peer"]["tokens"]:
        sys.exit(f"not the same step: the losses differ by {gap}")
    ours, peer = (statistics.median(found[side]["seconds"]) for side in ("ours", "peer"))
    memory = found["peer"]["peak_mb"] / max(found["ours"]["peak_mb"], PAGE)
    ratios = {"ratio": peer / ours, "memory_ratio": memory}
    print(f"{length}: {ratios['ratio']:.2f} times faster, {memory:.2f} times less memory", flush=True)
    return {**found, **ratios, "captions_per_s": images * BEAMS / ours}


if __name__ == "__main__":
    main()
