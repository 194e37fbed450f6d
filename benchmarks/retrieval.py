"""Retrieval ranks, both ways, against the whole table of scores: time and memory.

    python benchmarks/retrieval.py [--sizes 5000 20000 100000] [--peer-limit 20000] [--runs 3]

Random unit features of 512 numbers, one caption per image. The peers hold all N * N scores in float32: ``table`` counts
what is above the own score, ``sort`` ranks by a descending sort of each row and column, as CLIP-Caption-Reward's script
does. Every run is a process of its own; memory is its peak above what it held before ranking. One thread; seconds are
those of the clock and, less at the mercy of a busy machine, of the processor.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

from common import ROOT, options, save

SEED = 0
WIDTH = 512
SORT_LIMIT = 5000  # sorts of larger tables take minutes


def features(n: int) -> tuple[Any, Any]:
    """Texts and images [n, 512], text i a little like image i."""
    import torch

    generator = torch.Generator().manual_seed(SEED)
    images = torch.randn(n, WIDTH, generator=generator)
    texts = torch.randn(n, WIDTH, generator=generator).add_(images, alpha=0.15)
    return (x.div_(x.norm(dim=1, keepdim=True)) for x in (texts, images))  # type: ignore[return-value]


def ours(texts: Any, images: Any) -> tuple[Any, Any]:
    """Exact ranks in blocks."""
    from capreward.retrieval_ranks import retrieval_ranks

    found = retrieval_ranks(texts, images)
    return found.text_to_image.ranks(), found.image_to_text.ranks()


def table(texts: Any, images: Any) -> tuple[Any, Any]:
    """Counts over the whole table."""
    scores = texts @ images.T
    own = scores.diagonal()
    return (scores >= own[:, None]).sum(1), (scores >= own[None]).sum(0)


def sort(texts: Any, images: Any) -> tuple[Any, Any]:
    """Places in descending sorts of the whole table."""
    import torch

    scores = texts @ images.T
    number = torch.arange(len(scores))
    found = []
    for rows in (scores, scores.T):
        order = rows.argsort(dim=1, descending=True)
        found.append((order == number[:, None]).int().argmax(dim=1) + 1)
    return found[0], found[1]


WAYS = {"ours": ours, "table": table, "sort": sort}


def one(way: str, n: int) -> dict[str, float]:
    """Seconds, and megabytes at the peak above those before."""
    import torch

    torch.set_num_threads(1)
    ours(*features(64))  # loads what is loaded once
    texts, images = features(n)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begin, worked = time.perf_counter(), time.process_time()
    ranks = WAYS[way](texts, images)
    wall, cpu = time.perf_counter() - begin, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    means = [float(r.double().mean()) for r in ranks]
    return {
        "seconds": wall,
        "cpu_s": cpu,
        "peak_mb": peak - before,
        "t2i_mean_rank": means[0],
        "i2t_mean_rank": means[1],
    }


def measured(way: str, n: int, runs: int) -> dict[str, Any]:
    """The median of several processes."""
    rows = []
    for _ in range(runs):
        command = [sys.executable, __file__, "--one", way, str(n)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
        if done.returncode:
            sys.exit(f"{way} of {n} failed: {done.stderr}")
        rows.append(json.loads(done.stdout))
    walls = [row["seconds"] for row in rows]
    found = {**rows[0], "seconds": statistics.median(walls), "range_s": [min(walls), max(walls)], "runs": runs}
    found["cpu_s"] = statistics.median(row["cpu_s"] for row in rows)
    found["peak_mb"] = max(row["peak_mb"] for row in rows)
    times = f"{found['seconds']:8.2f} s  {found['cpu_s']:8.2f} s of the processor"
    print(f"{way:6} {n:>7,}  {times}  {found['peak_mb']:8.0f} MB", flush=True)
    return found


def main() -> None:
    """Measure and save."""
    parser = options(__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[5000, 20000, 100000])
    parser.add_argument("--peer-limit", type=int, default=20000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("WAY", "N"))
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one[0], int(given.one[1]))))
        return
    figures: dict[str, Any] = {}
    for n in given.sizes:
        runs = given.runs if n <= given.peer_limit else 1
        figures[str(n)] = {"ours": measured("ours", n, runs)}
        if n <= given.peer_limit:
            figures[str(n)]["table"] = measured("table", n, runs)
        if n <= min(given.peer_limit, SORT_LIMIT):
            figures[str(n)]["sort"] = measured("sort", n, runs)
    sizes = " ".join(map(str, given.sizes))
    command = f"python benchmarks/retrieval.py --sizes {sizes} --peer-limit {given.peer_limit} --runs {given.runs}"
    print(save("retrieval", {"width": WIDTH, "threads": 1, "sizes": figures}, command, SEED, given.out))


if __name__ == "__main__":
    main()
