"""All that is measured on a machine with a GPU, in one call of a few minutes, kept in one JSON.

What the machine may lack is fetched as wheels (9 MB) where there is a package index, and travels with the checkout:

    bash benchmarks/gpu_wheels.sh

Then on the machine, in the root of the checkout:

    python -m pip install --no-index --no-deps --target benchmarks/wheels/site benchmarks/wheels/*.whl
    PYTHONPATH=benchmarks/wheels/site python benchmarks/gpu.py [--minutes 6] [-o gpu.json]

The machine needs PyTorch with CUDA, torchvision, transformers, accelerate, timm, rich and Python 3.12, and no network:
weights are random or ship with the package, pictures and captions are those of the scenes world.

Parts: CLIP-S and decoding on the GPU against the CPU in fp32, and in half precision against fp32; CLIP-S against the
bare forward of open_clip; decoding and a DiCO step against transformers; a run in bf16 that is stopped and taken up
again; the tests of the mark ``gpu``. Every part is kept with its seconds as soon as it is over. One that fails is kept
with its error, the others follow, and the script ends with status 1; so it does where a figure is not what it must be
(``holds``). One that would not fit into the time is left out and says so.

Without CUDA, or with --small, everything runs at a small size; without CUDA the second device is the CPU too, so that
figures say nothing and only the code is proved.
"""

from __future__ import annotations

import argparse
import gc
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))  # the checkout need not be installed
from common import RESULTS, save
from gpu_parts import (
    FULL,
    SEED,
    SMALL,
    Given,
    clip_speed,
    decoding_parity,
    decoding_speed,
    dico_step,
    resumed_run,
    score_parity,
    tests,
)


@dataclass(frozen=True)
class Part:
    """One of the parts.

    Attributes:
        work: gives its figures.
        seconds: it takes on a GPU, by a cautious guess.
    """

    work: Callable[[Given], dict[str, Any]]
    seconds: float


def parts_of(given: Given) -> dict[str, Part]:
    """All parts by name, in the order in which they run: what matters most comes first, and the tests last."""
    parts = {"score_parity": Part(score_parity, 25), "decoding_parity": Part(decoding_parity, 30)}
    for precision in ("bf16", "fp32"):
        for name in given.size.models:
            parts[f"clip_speed {name} {precision}"] = Part(partial(clip_speed, name=name, precision=precision), 25)
    for length in ("natural", "longest"):
        parts[f"dico_step {length}"] = Part(partial(dico_step, length=length), 15)
    parts["resumed_run"] = Part(resumed_run, 30)
    for precision in ("fp32", "bf16"):
        for name in given.size.cases:
            work = partial(decoding_speed, name=name, precision=precision)
            parts[f"decoding_speed {name} {precision}"] = Part(work, 15)
    parts["tests"] = Part(tests, 50)
    return parts


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Stop what takes longer, with a TimeoutError."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"stopped after {seconds:.0f} s, when the time was up")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def attempt(work: Callable[[Given], dict[str, Any]], given: Given, seconds: float) -> dict[str, Any]:
    """The figures of a part, or its error, and the seconds that it took."""
    begin = time.perf_counter()
    try:
        with at_most(seconds):
            found = {"figures": work(given)}
    except (Exception, SystemExit) as error:  # one part's failure must not cost the others
        traceback.print_exc()
        found = {"error": f"{type(error).__name__}: {error}"}  # type: ignore[dict-item]
    if given.device != "cpu":
        gc.collect()
        torch.cuda.empty_cache()  # the next part's memory is its own
    return {"seconds": round(time.perf_counter() - begin, 2), **found}


def failed(part: dict[str, Any]) -> bool:
    """Whether a part ended with an error, or a figure is not what it must be."""
    return "error" in part or not all(part.get("figures", {}).get("holds", {}).values())


def device_of(name: str) -> dict[str, Any]:
    """The second device and how it computes."""
    told: dict[str, Any] = {"device": name, "threads": torch.get_num_threads(), "cuda": torch.version.cuda}
    if name == "cpu":
        return told
    properties = torch.cuda.get_device_properties(0)
    return told | {
        "gpu": properties.name,
        "memory_mb": properties.total_memory // 2**20,
        "cudnn": torch.backends.cudnn.version(),
        "tf32_products": torch.backends.cuda.matmul.allow_tf32,
        "tf32_convolutions": torch.backends.cudnn.allow_tf32,
    }


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "gpu.json", help="the JSON that is written")
    parser.add_argument("--minutes", type=float, default=6, help="for all parts together")
    parser.add_argument("--small", action="store_true", help="at a small size; so it is without CUDA")
    parser.add_argument("--only", help="parts, comma-separated, by the beginnings of their names")
    return parser.parse_args()


def main() -> None:
    """Run the parts one after another and keep their figures."""
    begin = time.perf_counter()
    asked = options()
    warnings.simplefilter("ignore")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    small = asked.small or device == "cpu"
    command = f"python benchmarks/gpu.py --minutes {asked.minutes:g}" + " --small" * small
    command += f" --only {asked.only}" if asked.only else ""

    def left() -> float:
        return 60 * asked.minutes - (time.perf_counter() - begin)

    told: dict[str, Any] = {**device_of(device), "small": small, "parts": {}}
    with tempfile.TemporaryDirectory() as folder:
        given = Given(SMALL if small else FULL, device, Path(folder), left)
        parts = parts_of(given)
        wanted = [n for n in parts if asked.only is None or n.startswith(tuple(asked.only.split(",")))]
        if not wanted:
            print(f"no part begins with {asked.only!r}; the parts are {', '.join(parts)}", file=sys.stderr)
            sys.exit(2)
        for name in wanted:
            kept = parts["tests"].seconds if "tests" in wanted and name != "tests" else 0.0  # for the last part
            if left() < kept + parts[name].seconds:
                why = f"it takes about {parts[name].seconds:.0f} s, and {max(left() - kept, 0):.0f} s are left for it"
                told["parts"][name] = {"left_out": why}
            else:
                told["parts"][name] = attempt(parts[name].work, given, left() - kept)
            told["seconds"] = round(time.perf_counter() - begin, 1)
            path = save("gpu", told, command, SEED, path=asked.output)
            print(f"{name}: {told['parts'][name]}", flush=True)
    wrong = [name for name, part in told["parts"].items() if failed(part)]
    print(f"kept in {path}; {told['seconds']} s; failed: {', '.join(wrong) or 'none'}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
