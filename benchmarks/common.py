"""What the benchmarks share: fair timing of two programs in turn, and the machine they ran on."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from capreward._version import __version__

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"

# The command is started by a small process of its own: a child's largest memory counts that of the process it was
# forked from.
LAUNCHER = """
import resource, subprocess, sys, time
begin = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
print(time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def options(about: str | None) -> argparse.ArgumentParser:
    """The parser of a benchmark's options, with the one that all have.

    Args:
        about: the benchmark's docstring.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the figures; default: benchmarks/results")
    return parser


def seconds(work: Callable[[], Any]) -> float:
    """Wall time of one call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def against(ours: Callable[[], Any], peer: Callable[[], Any], *, runs: int, ours_per_run: int = 1) -> dict[str, Any]:
    """Time two programs in turn, after one warm-up each.

    Args:
        ours: what is measured.
        peer: what it is measured against.
        runs: pairs of runs.
        ours_per_run: calls of ``ours`` per pair (its mean counts), for work too short for the clock.

    Returns:
        Median seconds of both and the median, least and largest ratio peer/ours over the pairs.
    """
    ours()
    peer()
    pairs = []
    for _ in range(runs):
        mine = seconds(lambda: [ours() for _ in range(ours_per_run)]) / ours_per_run
        pairs.append((mine, seconds(peer)))
    ratios = [theirs / mine for mine, theirs in pairs]
    return {
        "ours_s": statistics.median(p[0] for p in pairs),
        "peer_s": statistics.median(p[1] for p in pairs),
        "ratio": statistics.median(ratios),
        "ratio_range": [min(ratios), max(ratios)],
        "runs": runs,
    }


def machine() -> dict[str, Any]:
    """Processor, memory and versions."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    packages = ("numpy", "open_clip_torch", "pycocoevalcap", "torch", "torchmetrics", "transformers")
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "java": java_version(),
        "packages": {"capreward": __version__, **{name: _version(name) for name in packages}},
        "date": time.strftime("%Y-%m-%d"),
    }


def java_version() -> str | None:
    """The first line of ``java -version``; None without Java."""
    try:
        done = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stderr.splitlines()[0] if done.stderr else None


def whole_process(
    arguments: list[str], *, runs: int, warm_ups: int = 1, environment: dict[str, str] | None = None
) -> dict[str, Any]:
    """Median wall seconds and largest memory of a command started anew for each run, after the warm-ups."""
    walls, peaks = [], []
    for _ in range(runs + warm_ups):
        done = subprocess.run(
            [sys.executable, "-c", LAUNCHER, *arguments],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            check=False,
        )
        if done.returncode != 0:
            sys.exit(f"{' '.join(arguments)} failed: {done.stderr}")
        wall, peak = done.stdout.split()
        walls.append(float(wall))
        peaks.append(float(peak) / 1024)
    counted = walls[warm_ups:]
    return {"wall_s": statistics.median(counted), "wall_range": [min(counted), max(counted)], "peak_mb": max(peaks)}


def peak(step: Callable[[], Any], device: str) -> float:
    """Megabytes that a step takes at most, above what stood before it: of the GPU's memory, or of this process."""
    if device != "cpu":
        import torch

        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    Path("/proc/self/clear_refs").write_text("5")  # the highest resident size begins anew
    resident = _resident("VmRSS")
    step()
    return (_resident("VmHWM") - resident) / 1024  # of kB


def save(
    name: str, figures: dict[str, Any], command: str, seed: int, folder: Path = RESULTS, *, path: Path | None = None
) -> Path:
    """Keep the figures with machine, versions, command and seed in a folder, or in the file ``path``."""
    path = path or folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps({"command": command, "seed": seed, "machine": machine(), "figures": figures}, indent=2) + "\n"
    )
    return path


def _resident(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(name)))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
