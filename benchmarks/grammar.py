"""Corrupted captions told from real COCO captions, learnt from captions alone.

    python benchmarks/grammar.py [--steps 3000] [--images N] [--folder runs/grammar]

Needs the folder of captions in CAPREWARD_DATA (``coco_val2017_captions/`` and ``coco_karpathy_test/``). Images are
split by their COCO id, so that no image of the test part is in the training part; test captions that stand word for
word in the training part are left out. A small text tower with a vocabulary of its own is trained from scratch by
``capreward tune`` with the cross-entropy alone: that of every prefix too, as ``grammar-better`` has it, and that of
whole captions alone, as published. Beside them: what a caption's length tells, and the mean log-probability of a bigram
model of the same training captions. A run that is there already goes on.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import resource
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, options, save

from trainers.captioners.word_vocabulary import split_words
from trainers.tuning.corrupted_captions import KINDS, Corruptor

SEED = 0
SHARES = {"train": 0.8, "val": 0.05, "test": 0.15}
TEXT = {"context_length": 64, "width": 128, "heads": 4, "layers": 2}
MERGES = 3000
TOWERS = {"prefixes": 1.0, "whole-captions": 0.0}  # and the weight of the loss over prefixes
TRAINING = {
    "batch_size": 64,
    "lr": 1.5e-3,
    "precision": "fp32",
    "schedule": "cosine",
    "warmup": 200,
    "weight_decay": 0.05,
    "decay": "matrices",
}


def pool(data: Path) -> dict[int, list[str]]:
    """All captions by COCO id, in lower case without punctuation, each once."""
    found: dict[int, list[str]] = defaultdict(list)
    for row in json.loads((data / "coco_val2017_captions" / "captions_val2017.json").read_text())["annotations"]:
        found[row["image_id"]].append(row["caption"])
    for key, captions in json.loads((data / "coco_karpathy_test" / "refs_5000.json").read_text()).items():
        found[int(key)] += captions
    plain = {key: [" ".join(split_words(caption)) for caption in captions] for key, captions in found.items()}
    return {key: list(dict.fromkeys(c for c in captions if len(c.split()) > 1)) for key, captions in plain.items()}


def parts(captions: dict[int, list[str]], images: int | None = None) -> dict[str, dict[int, list[str]]]:
    """Train, val and test by image, of so many; without what the training part has word for word in the others."""
    keys = sorted(captions)
    random.Random(SEED).shuffle(keys)
    keys = keys[:images]
    found, start = {}, 0
    for name, share in SHARES.items():
        stop = len(keys) if name == "test" else start + round(share * len(keys))
        found[name] = {key: captions[key] for key in keys[start:stop]}
        start = stop
    known = {caption for own in found["train"].values() for caption in own}
    for name in ("val", "test"):
        new = {key: [c for c in own if c not in known] for key, own in found[name].items()}
        found[name] = {key: own for key, own in new.items() if own}
    return found


@dataclass
class Examples:
    """Captions and a corruption of each: kinds, texts, and the image each belongs to."""

    captions: list[str]
    kinds: list[str]
    corrupted: list[str]
    items: np.ndarray

    @classmethod
    def of(cls, captions: dict[int, list[str]], corruptor: Corruptor, seed: int) -> Examples:
        """One corruption of each caption that can be corrupted."""
        chance = random.Random(seed)
        rows = [(key, c, *corruptor.corrupt(c, chance)) for key, own in captions.items() for c in own]
        return cls([r[1] for r in rows], [r[2] for r in rows], [r[3] for r in rows], np.array([r[0] for r in rows]))


class Bigrams:
    """Interpolated Kneser-Ney over words, the rarest of them as one."""

    def __init__(self, captions: list[str], least: int = 2, discount: float = 0.75) -> None:
        counts = Counter(word for caption in captions for word in caption.split())
        self.words = {word for word, count in counts.items() if count >= least}
        self.discount = discount
        self.pairs = Counter(pair for caption in captions for pair in self._pairs(caption))
        self.starts, self.followers, self.before = Counter(), Counter(), Counter()
        for (first, second), count in self.pairs.items():
            self.starts[first] += count
            self.followers[first] += 1
            self.before[second] += 1

    def _pairs(self, caption: str) -> list[tuple[str, str]]:
        words = ["<s>", *(w if w in self.words else "<unk>" for w in caption.split()), "</s>"]
        return list(itertools.pairwise(words))

    def mean_log_probability(self, caption: str) -> float:
        """Per word, the end counted as one."""
        values = []
        for first, second in self._pairs(caption):
            base = (self.before[second] + 1) / (len(self.pairs) + len(self.words) + 2)
            total = self.starts[first]
            held = self.discount * self.followers[first] / total if total else 1.0
            own = max(self.pairs[first, second] - self.discount, 0) / total if total else 0.0
            values.append(math.log(own + held * base))
        return sum(values) / len(values)


def tune(folder: Path, name: str, prefixes: float, split: dict[str, Any], training: list[str], steps: int) -> float:
    """Write the captions and a tower of random weights, and tune it in a process of its own; all its seconds."""
    from trainers.tuning.new_clip import write_new_folder

    folder.mkdir(parents=True, exist_ok=True)
    for part in ("train", "val"):
        (folder / f"{part}.json").write_text(json.dumps({str(key): own for key, own in split[part].items()}))
    if not (folder / "base").exists():
        write_new_folder(folder / "base", training, text=TEXT, most=MERGES, seed=SEED)
    told = ["--run", f"{folder}/{name}", "--base", f"{folder}/base", "--prompt", "", "--seed", str(SEED)]
    told += ["--data", f"{folder}/train.json", "--val", f"{folder}/val.json", "--images", "none", "--steps", str(steps)]
    sets = {
        "objective": {"prefixes": prefixes},
        "training": TRAINING,
        "evaluation": {"every": 500},
        "checkpoint": {"every": 500},
        "logging": {"every": 100},
    }
    told += [f"--set={part}.{name}={value}" for part, own in sets.items() for name, value in own.items()]
    command = [sys.executable, "cli.py", "tune", "--recipe", "grammar-better", *told]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    begun = resource.getrusage(resource.RUSAGE_CHILDREN)
    before = begun.ru_utime + begun.ru_stime
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    used, kept = resource.getrusage(resource.RUSAGE_CHILDREN), folder / name / "processor_seconds.txt"
    seconds = used.ru_utime + used.ru_stime - before + (float(kept.read_text()) if kept.exists() else 0.0)
    kept.write_text(f"{seconds:.1f}\n")  # of a run in several parts
    return seconds


def judge(folder: Path | str) -> Any:
    """What the tuned head says of texts: the log-odds of class 1."""
    import torch

    from capreward.encoders.loading import load_clip
    from capreward.encoders.model.text_tower import text_states

    clip = load_clip(folder)

    def scores(texts: list[str], prompt: str = "") -> np.ndarray:
        found = []
        with torch.no_grad():
            for start in range(0, len(texts), 500):
                tokens = clip.tokenizer([prompt + text for text in texts[start : start + 500]])
                logits = clip.grammar_head(text_states(clip.model, tokens[:, : int(tokens.argmax(-1).max()) + 1]))
                found.append(logits[:, 1] - logits[:, 0])
        return torch.cat(found).numpy()

    return scores


def figures(good: np.ndarray, bad: np.ndarray, examples: Examples, threshold: float) -> dict[str, Any]:
    """Accuracy at a threshold; the area under the curve, overall and per kind, with intervals over images."""
    from capreward.stats.auc import area, area_interval

    kinds = np.array(examples.kinds)
    found: dict[str, Any] = {"accuracy": float(((good > threshold).sum() + (bad <= threshold).sum()) / (2 * len(good)))}
    for name in ("all", *KINDS):
        own = np.ones(len(bad), bool) if name == "all" else kinds == name
        low, high = area_interval(good, bad[own], examples.items, examples.items[own], seed=SEED)
        row = {"auc": area(good, bad[own]), "interval": [low, high], "recall": float((bad[own] <= threshold).mean())}
        found[name] = {**row, "corrupted": int(own.sum())}
    found["captions_passed"] = float((good > threshold).mean())
    return found


def best_threshold(good: np.ndarray, bad: np.ndarray) -> float:
    """Of the highest accuracy on the validation part."""
    values = np.unique(np.concatenate([good, bad]))
    passed = len(good) - np.searchsorted(np.sort(good), values, side="right")
    caught = np.searchsorted(np.sort(bad), values, side="right")
    return float(values[np.argmax(passed + caught)])


def elsewhere(folder: Path, images: int = 1000) -> dict[str, Any]:
    """On held-out scenes captions, which look like no COCO caption: the same head, and that of the scenes world.

    Each as it was taught: the one without punctuation and prompt, the other with both.
    """
    from capreward.data.scenes import scene

    corruptor = Corruptor.of_captions(c for i in range(2 * images) for c in scene("train", i).captions)
    found = {}
    for name, head, prompt in (
        ("tuned_on_coco", folder, ""),
        ("tuned_on_scenes", "scenes-grammar", "A photo depicts "),
    ):
        said = {
            i: [split_words(c) if not prompt else c.split() for c in scene("test", i).captions] for i in range(images)
        }
        usable = {i: [" ".join(words) for words in own if len(words) > 1] for i, own in said.items()}
        test, rule = Examples.of(usable, corruptor, SEED), judge(head)
        found[name] = figures(rule(test.captions, prompt), rule(test.corrupted, prompt), test, 0.0)
    return found


def main() -> None:
    """Train, judge, keep the figures."""
    parser = options(__doc__)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--images", type=int, help="so many alone, of COCO, and of scenes at most 1,000; default: all")
    parser.add_argument("--folder", type=Path, default=Path("runs/grammar"))
    asked = parser.parse_args()
    asked.folder = asked.folder.resolve()
    split = parts(pool(Path(os.environ["CAPREWARD_DATA"])), asked.images)
    training = [caption for own in split["train"].values() for caption in own]
    seconds = {name: round(tune(asked.folder, name, w, split, training, asked.steps)) for name, w in TOWERS.items()}
    corruptor = Corruptor.of_captions(training)
    val, test = (Examples.of(split[name], corruptor, SEED + n) for n, name in enumerate(("val", "test"), 1))
    bigrams = Bigrams(training)
    rules = {
        **{name: judge(asked.folder / name / "best") for name in TOWERS},
        "bigrams": lambda texts: np.array([bigrams.mean_log_probability(t) for t in texts]),
        "shortness": lambda texts: np.array([-float(len(t.split())) for t in texts]),
    }
    told: dict[str, Any] = {
        name: {"images": len(own), "captions": sum(map(len, own.values()))} for name, own in split.items()
    }
    told |= {"vocabulary_of_corruptions": len(corruptor.words), "text_tower": TEXT, "processor_seconds": seconds}
    for name, rule in rules.items():
        threshold = 0.0 if name in TOWERS else best_threshold(rule(val.captions), rule(val.corrupted))
        told[name] = {"threshold": threshold, **figures(rule(test.captions), rule(test.corrupted), test, threshold)}
        print(name, json.dumps(told[name]), file=sys.stderr)
    told["scenes"] = elsewhere(asked.folder / "prefixes" / "best", min(1000, asked.images or 1000))
    command = f"python benchmarks/grammar.py --steps {asked.steps}"
    command += f" --images {asked.images}" if asked.images else ""
    save("grammar", told, command, SEED, asked.out)


if __name__ == "__main__":
    main()
