"""Optimizers against rewards on the scenes world: what is gained, and what it costs.

    python benchmarks/paradigms.py [--steps 100] [--seeds 3] [--jobs 2] [--folder runs/paradigms] [--reward R ...]

Every optimizer with every reward, from the captioner that ships, on as many pictures; then the captions of test
pictures are judged by what the run was not trained on: the held-out judge (a CLIP of another architecture), CIDEr,
repetition, and the world's own truth (grammaticality, precision and recall of facts); and by the reward it was trained
on. A run that is there already is not trained again. With --reward only those rewards are run, and the kept rows of the
others stay, if the start is judged as it was when they were made.

Intervals are 95% bootstrap intervals that draw seeds and pictures with replacement: both vary from run to run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, options, save

OPTIMIZERS = ("scst", "dico")
REWARDS = ("cider-d", "clips", "pacs", "pacs + cider-d", "2*clips", "2*clips + grammar", "2*clips + cider-d")
START = "xe (start)"
SEED = 12345
COLUMNS = {
    "judge": "clips(checkpoint=scenes-judge)",
    "CIDEr": "cider",
    "repetition": "repetition",
    "grammar": "scene-grammar",
    "precision": "scene-facts-precision",
    "recall": "scene-facts-recall",
}
LOWER = ("repetition",)


def folder_of(base: Path, optimizer: str, reward: str, seed: int) -> Path:
    """Where a run keeps itself."""
    return base / f"{optimizer}-{reward.replace(' ', '').replace('*', 'x')}-{seed}"


def train(base: Path, optimizer: str, reward: str, seed: int, steps: int) -> None:
    """One run, in a process of its own with one thread."""
    out = folder_of(base, optimizer, reward, seed)
    command = [sys.executable, "cli.py", "train", "--optimizer", optimizer, "--reward", reward, "--run", str(out)]
    command += ["--seed", str(seed), "--steps", str(steps), "--eval-every", str(steps), "--val-count", "50", "-q"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    print(f"{optimizer} {reward} seed {seed}: done", flush=True)


def statistics_of(captioner: str, pictures: int) -> dict[str, np.ndarray[Any, Any]]:
    """Per column the summable statistics [pictures, S] of a captioner's captions of test pictures, and its rewards."""
    from capreward.scoring import evaluate, load_list
    from trainers.captioners.layouts.loading import open_captioner
    from trainers.data import open_dataset
    from trainers.decoding import Decoding
    from trainers.evaluation.held_out_captions import caption_items

    model = open_captioner(captioner)
    data = open_dataset("scenes:test", count=pictures)
    settings = Decoding(beams=3, max_length=model.longest)
    found = caption_items(model, data, settings, batch_size=50)
    listed = "clips(checkpoint=scenes-judge), cider, repetition, scene-grammar, scene-facts, clips, pacs"
    scores = evaluate(load_list(listed), found.samples())
    flat = {}
    for score in scores.values():
        for part in score.parts.values() if score.family else [score]:
            flat[part.name] = part
    return {name: (part.statistics, part.finish, part.column) for name, part in flat.items()}


def interval(parts: list[Any], chance: np.random.Generator, draws: int = 1000) -> list[float]:
    """The value over seeds, and its interval over seeds and pictures."""
    tables = np.stack([statistics for statistics, _, _ in parts])  # [seeds, pictures, S]
    finish, column = parts[0][1], parts[0][2]
    value = float(np.mean([finish(t.sum(0)).reshape(-1)[column] for t in tables]))
    seeds, pictures, _ = tables.shape
    drawn = []
    for _ in range(draws):
        rows = chance.integers(0, pictures, pictures)
        chosen = chance.integers(0, seeds, seeds)
        sums = tables[chosen][:, rows].sum(1)
        drawn.append(np.mean([finish(s).reshape(-1)[column] for s in sums]))
    return [value, float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975))]


def compared(base: Path, rewards: list[str], seeds: int, pictures: int) -> dict[str, dict[str, list[float]]]:
    """Rows of the table: the start, and every optimizer with every reward."""
    chance = np.random.default_rng(SEED)
    names = {**COLUMNS, "clips": "clips", "pacs": "pacs"}
    start = statistics_of("scenes", pictures)
    rows = {START: {label: interval([start[name]], chance) for label, name in names.items()}}
    for optimizer in OPTIMIZERS:
        for reward in rewards:
            each = [
                statistics_of(str(folder_of(base, optimizer, reward, seed) / "last"), pictures) for seed in range(seeds)
            ]
            row = {label: interval([found[name] for found in each], chance) for label, name in names.items()}
            rows[f"{optimizer}, {reward}"] = row
            print(f"{optimizer}, {reward}: {json.dumps({k: round(v[0], 4) for k, v in row.items()})}", flush=True)
    return rows


def with_kept(
    rows: dict[str, dict[str, list[float]]], figures: dict[str, Any], folder: Path
) -> dict[str, dict[str, list[float]]]:
    """The rows beside those that were kept of other rewards with the same settings, in the order of the lists above."""
    path = folder / "paradigms.json"
    kept = json.loads(path.read_text(encoding="utf-8"))["figures"] if path.exists() else {}
    same = all(kept.get(name) == value for name, value in figures.items())
    if not same or not np.allclose(list(kept["rows"][START].values()), list(rows[START].values()), rtol=0, atol=1e-5):
        print("the kept rows are of other settings or another start; they are dropped")
        return rows
    order = [START, *(f"{optimizer}, {reward}" for optimizer in OPTIMIZERS for reward in REWARDS)]
    known = kept["rows"] | rows
    return {name: known[name] for name in order if name in known}


def table(rows: dict[str, dict[str, list[float]]]) -> str:
    """The rows in Markdown, intervals beside the values."""
    labels = list(next(iter(rows.values())))
    head = [f"{label} ↓" if label in LOWER else label for label in labels]
    lines = ["| optimizer, reward | " + " | ".join(head) + " |", "|---|" + "---:|" * len(labels)]
    for name, row in rows.items():
        cells = [f"{row[label][0]:.3f} [{row[label][1]:.3f}, {row[label][2]:.3f}]" for label in labels]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(rows: dict[str, dict[str, list[float]]]) -> str:
    """One panel per measure: a dot and an interval per row, as SVG."""
    labels = list(next(iter(rows.values())))
    names = list(rows)
    row_height, panel, left, top = 22, 150, 170, 44
    width, height = left + len(labels) * panel + 10, top + len(names) * row_height + 20
    colours = {"x": "#6b7280", "s": "#c2410c", "d": "#1d4ed8"}
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="12" role="img">',
        "<title>Optimizers against rewards on the scenes world</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for i, name in enumerate(names):
        parts.append(f'<text x="{left - 12}" y="{top + i * row_height + 15}" text-anchor="end">{name}</text>')
    for p, label in enumerate(labels):
        begin = left + p * panel
        bounds = [bound for row in rows.values() for bound in row[label]]
        low, high = min(bounds), max(bounds)
        scale = (panel - 34) / max(high - low, 1e-9)
        arrow = " ↓" if label in LOWER else ""
        parts.append(
            f'<text x="{begin + panel / 2}" y="18" text-anchor="middle" font-weight="600">{label}{arrow}</text>'
        )
        parts.append(f'<text x="{begin + 12}" y="36" fill="#6b7280" font-size="10">{low:.3g}</text>')
        parts.append(
            f'<text x="{begin + panel - 22}" y="36" text-anchor="end" fill="#6b7280" font-size="10">{high:.3g}</text>'
        )
        at_start = begin + 12 + (rows[names[0]][label][0] - low) * scale
        parts.append(
            f'<line x1="{at_start:.1f}" x2="{at_start:.1f}" y1="{top}" y2="{height - 14}" stroke="#d1d5db" '
            'stroke-dasharray="3 3"/>'
        )
        for i, name in enumerate(names):
            y = top + i * row_height + 11
            value, lower, upper = (begin + 12 + (v - low) * scale for v in rows[name][label])
            colour = colours[name[0]]
            parts.append(
                f'<line x1="{lower:.1f}" x2="{upper:.1f}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="2"/>'
            )
            parts.append(f'<circle cx="{value:.1f}" cy="{y}" r="4" fill="{colour}"/>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Train what is not there, judge all, keep figures, table and plot."""
    parser = options(__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "paradigms")
    parser.add_argument("--reward", action="append", choices=REWARDS, help="This one; may be repeated.")
    given = parser.parse_args()
    rewards = given.reward or list(REWARDS)
    wanted = [(o, r, s) for s in range(given.seeds) for r in rewards for o in OPTIMIZERS]
    with ThreadPoolExecutor(given.jobs) as pool:
        list(pool.map(lambda one: train(given.folder, *one, given.steps), wanted))
    rows = compared(given.folder, rewards, given.seeds, given.pictures)
    figures = {"steps": given.steps, "pictures_per_step": 16, "seeds": given.seeds, "test_pictures": given.pictures}
    rows = with_kept(rows, figures, given.out)
    command = f"python benchmarks/paradigms.py --steps {given.steps} --seeds {given.seeds} --pictures {given.pictures}"
    print(f"kept in {save('paradigms', {**figures, 'rows': rows}, command, SEED, given.out)}")
    told = f"`{command}`: means over seeds, with 95% intervals over seeds and pictures.\n\n"
    (given.out / "paradigms.md").write_text(told + table(rows), encoding="utf-8")
    (given.out / "paradigms.svg").write_text(plot(rows), encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
