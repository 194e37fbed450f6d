"""Real photos without a pretrained tower: cross-entropy from scratch on Flickr8k, then DiCO for CIDEr-D.

    python benchmarks/photos.py [--steps 1200] [--dico-steps 60] [--held-out 300] [--folder runs/photos]

Needs the folder of captions and photos in CAPREWARD_DATA (``flickr8k/``: 112 by 112 photos). The measure is CIDEr on
held-out photos, against the best that one caption for all of them reaches: of 300 training captions the one with the
highest CIDEr-D on other training photos. A run that is there already goes on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, options, save

SEED = 0
SIZES = "{width: 256, heads: 8, inner: 1024, encoder_layers: 1, decoder_layers: 2, longest: 40, dropout: 0.1}"


def train(out: Path, held_out: int, *extra: str) -> float:
    """A run in a process of its own; its seconds."""
    data = Path(os.environ["CAPREWARD_DATA"]) / "flickr8k"
    told = ["--data", f"{data}/Flickr8k.token.txt", "--images", f"{data}/photos_112/train.tar", "--allow-missing"]
    told += ["--val", f"{data}/Flickr8k.token.txt", "--val-images", f"{data}/photos_112/dev.tar"]
    told += ["--val-count", str(held_out)]
    begin = time.perf_counter()
    command = [sys.executable, "cli.py", "train", "--run", str(out), "--seed", str(SEED), *told, *extra]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    return time.perf_counter() - begin


def constant(held: int) -> dict[str, Any]:
    """The best single caption for all photos, and its CIDEr on the held-out ones."""
    import capreward
    from trainers.data import open_dataset

    data = Path(os.environ["CAPREWARD_DATA"]) / "flickr8k"
    names = f"{data}/Flickr8k.token.txt"
    train_set = open_dataset(names, images=f"{data}/photos_112/train.tar", allow_missing=True)
    held_out = open_dataset(names, images=f"{data}/photos_112/dev.tar", allow_missing=True, count=held)
    chance = np.random.default_rng(SEED)
    chosen = chance.permutation(len(train_set))[: 2 * held]
    captions = [train_set[int(i)].captions[0] for i in chosen[:held]]
    references = [list(train_set[int(i)].captions) for i in chosen[held:]]
    means = [capreward.score([one] * len(references), references, metrics="cider")["cider"].value for one in captions]
    best = captions[int(np.argmax(means))]
    others = [list(held_out[i].captions) for i in range(len(held_out))]
    return {"caption": best, "cider": capreward.score([best] * len(others), others, metrics="cider")["cider"].value}


def rows(run: Path, kind: str) -> list[dict[str, Any]]:
    """Rows of a run's log."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [row for row in map(json.loads, lines) if row["kind"] == kind]


def main() -> None:
    """Train, compare, keep the figures."""
    parser = options(__doc__)
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--dico-steps", type=int, default=60)
    parser.add_argument(
        "--held-out", type=int, default=300, help="images looked for in dev.tar; those found are judged on"
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "photos")
    given = parser.parse_args()
    if "CAPREWARD_DATA" not in os.environ:
        sys.exit("name the folder of captions and photos in CAPREWARD_DATA")
    xe, dico = given.folder / "xe", given.folder / "dico"
    new = [
        "--optimizer",
        "xe",
        "--tower",
        "patch",
        "--set",
        "captioner.vocabulary=learn",
        "--set",
        "captioner.merges=3000",
    ]
    new += ["--set", f"captioner.sizes={SIZES}", "--set", "optimizer.captions=3", "--steps", str(given.steps)]
    new += ["--batch-size", "32", "--lr", "1e-3", "--set", "training.warmup=100", "--set", "training.weight_decay=0.05"]
    new += ["--metrics", "cider, bleu4, repetition", "--eval-every", "300", "--set", "evaluation.beams=3"]
    seconds = {"xe": train(xe, given.held_out, *new)}
    more = ["--optimizer", "dico", "--reward", "cider-d", "--captioner", str(xe), "--steps", str(given.dico_steps)]
    more += ["--batch-size", "16", "--lr", "5e-6", "--set", "optimizer.tau=3", "--set", "optimizer.spread=image"]
    more += ["--set", "optimizer.dropout=false", "--set", "optimizer.search_dropout=false"]
    more += [
        "--metrics",
        "cider, bleu4, repetition",
        "--eval-every",
        str(given.dico_steps),
        "--set",
        "evaluation.beams=3",
    ]
    seconds["dico"] = train(dico, given.held_out, *more)
    losses = [round(row["loss"], 4) for row in rows(xe, "train")]
    figures = {
        "constant": constant(given.held_out),
        "loss_first_and_last": [losses[0], losses[-1]],
        "xe": [{k: row[k] for k in ("step", "cider", "bleu4", "repetition") if k in row} for row in rows(xe, "eval")],
        "dico": [
            {k: row[k] for k in ("step", "cider", "bleu4", "repetition") if k in row} for row in rows(dico, "eval")
        ],
        "seconds": seconds,
    }
    print(json.dumps(figures, indent=1))
    command = f"python benchmarks/photos.py --steps {given.steps} --dico-steps {given.dico_steps}"
    command += f" --held-out {given.held_out}" if given.held_out != 300 else ""
    print(f"kept in {save('photos', figures, command, SEED, given.out)}")


if __name__ == "__main__":
    main()
