"""Text metrics against pycocoevalcap, in one run on one machine.

    python benchmarks/text_metrics.py [--data FOLDER] [--only pipeline,reward] [--captions 5000] [--runs 5]

Every ratio is the peer's time divided by ours, both measured in turn in this run. The peer is pycocoevalcap with its
Java tokenizer and METEOR; sections that need Java are left out without one.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common import ROOT, against, java_version, options, save, seconds, whole_process

Captions = tuple[list[str], list[list[str]]]

SEED = 0
SIZES = [10_000, 100_000, 1_000_000]
SECTIONS = "pipeline,cider,reward,meteor,long,startup,memory"


def coco(data: Path) -> Captions:
    """5,000 captions of the COCO Karpathy test split with their 25,010 references."""
    folder = data / "coco_karpathy_test"
    references = json.loads((folder / "refs_5000.json").read_text())
    results = json.loads((folder / "outputs/showedittell_xe.json").read_text())
    return [r["caption"] for r in results], [references[str(r["image_id"])] for r in results]


class Peer:
    """pycocoevalcap as its own evaluation script drives it."""

    def tokenize(self, captions: list[str], references: list[list[str]]) -> tuple[dict[int, Any], dict[int, Any]]:
        """Both sides through the Java tokenizer."""
        from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

        tokenizer = PTBTokenizer()
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            gts = tokenizer.tokenize({i: [{"caption": c} for c in refs] for i, refs in enumerate(references)})
            res = tokenizer.tokenize({i: [{"caption": c}] for i, c in enumerate(captions)})
        return gts, res

    def pipeline(self, captions: list[str], references: list[list[str]]) -> None:
        """Tokenize, BLEU, ROUGE-L, CIDEr, and CIDEr again as CIDEr-D (it is the same program)."""
        from pycocoevalcap.bleu.bleu import Bleu
        from pycocoevalcap.rouge.rouge import Rouge

        gts, res = self.tokenize(captions, references)
        with contextlib.redirect_stdout(io.StringIO()):
            Bleu(4).compute_score(gts, res, verbose=0)
        Rouge().compute_score(gts, res)
        self.cider(gts, res)
        self.cider(gts, res)

    def cider(self, gts: dict[int, Any], res: dict[int, Any]) -> None:
        """CIDEr of tokenized captions."""
        from pycocoevalcap.cider.cider import Cider

        Cider().compute_score(gts, res)

    def meteor(self, gts: dict[int, Any], res: dict[int, Any]) -> None:
        """METEOR of tokenized captions, starting and ending its Java program."""
        from pycocoevalcap.meteor.meteor import Meteor

        scorer = Meteor()
        scorer.compute_score(gts, res)
        scorer.meteor_p.kill()
        scorer.meteor_p.wait()


def pipeline(captions: list[str], references: list[list[str]], runs: int) -> dict[str, Any]:
    """Tokenize + BLEU + ROUGE-L + CIDEr + CIDEr-D from raw strings."""
    import capreward

    ours = lambda: capreward.score(captions, references, metrics="bleu,rouge,cider,cider-d")  # noqa: E731
    return against(ours, lambda: Peer().pipeline(captions, references), runs=runs)


def cider_alone(captions: list[str], references: list[list[str]], runs: int) -> dict[str, Any]:
    """CIDEr of tokenized captions."""
    import capreward

    peer = Peer()
    gts, res = peer.tokenize(captions, references)
    mine, theirs = [res[i][0] for i in res], [gts[i] for i in res]
    ours = lambda: capreward.score(mine, theirs, metrics="cider", tokenizer="none")  # noqa: E731
    return against(ours, lambda: peer.cider(gts, res), runs=runs)


def reward(captions: list[str], references: list[list[str]], runs: int) -> dict[str, Any]:
    """CIDEr-D of 64 images x 5 candidates with prepared references and fixed document frequencies."""
    import capreward
    from capreward.text.document_frequencies import DocumentFrequencies
    from capreward.text.ngram_corpus import reference_grams
    from capreward.text.tokenizers import tokenizer_of

    whole = capreward.Samples([], references=references, item=[])
    fixed = DocumentFrequencies.of(reference_grams(whole, tokenizer_of("ptb")), source="coco-test")
    evaluator = capreward.load("cider-d", df=fixed)
    theirs = references[:64]
    prepared = evaluator.prepare(capreward.Samples([], references=theirs, item=[]))
    generator = random.Random(SEED)
    candidates = [generator.choice(captions) for _ in range(64 * 5)]
    item = [i for i in range(64) for _ in range(5)]

    def ours() -> Any:
        return evaluator(capreward.Samples(candidates, item=item, key=[str(i) for i in range(64)]), prepared)

    peer = Peer()
    repeated = [theirs[i] for i in item]
    gts, res = peer.tokenize(candidates, repeated)

    def with_tokenizer() -> None:
        peer.cider(*peer.tokenize(candidates, repeated))

    first = against(ours, with_tokenizer, runs=runs, ours_per_run=20)
    return {
        "with_tokenizer": first,
        "tokenized": against(ours, lambda: peer.cider(gts, res), runs=runs, ours_per_run=20),
    }


def meteor(captions: list[str], references: list[list[str]], runs: int) -> dict[str, Any]:
    """METEOR of 5,000 tokenized captions, and the first use, which builds the index."""
    import capreward

    peer = Peer()
    gts, res = peer.tokenize(captions, references)
    mine, theirs = [res[i][0] for i in res], [gts[i] for i in res]
    ours = lambda: capreward.score(mine, theirs, metrics="meteor", tokenizer="none")  # noqa: E731
    figures = against(ours, lambda: peer.meteor(gts, res), runs=max(1, runs // 2))
    command = [sys.executable, "-c", "import capreward; capreward.score(['a dog'], [['a dog']], metrics='meteor')"]
    with tempfile.TemporaryDirectory() as cache:
        environment = {"CAPREWARD_CACHE": cache, "PYTHONPATH": str(ROOT)}
        import subprocess

        figures["first_use_s"] = seconds(
            lambda: subprocess.run(command, env={**os.environ, **environment}, check=True, cwd=ROOT)
        )
    return figures


def long_meteor(runs: int) -> dict[str, Any]:
    """METEOR of one caption that says a word 400 times, against five references of 300 words: what stalls a reward."""
    import capreward

    generator = random.Random(SEED)
    nouns = ["dog", "cat", "horse", "barn", "road", "child", "wall", "hat", "street", "bus", "table", "cake"]

    def paragraph() -> str:
        return " ".join(f"a {generator.choice(nouns)} {generator.choice(['near', 'on', 'with'])}" for _ in range(100))

    captions, references = ["a " * 399 + "a"], [[paragraph() for _ in range(5)]]
    peer = Peer()
    gts, res = {0: references[0]}, {0: captions}
    ours = lambda: capreward.score(captions, references, metrics="meteor", tokenizer="none")  # noqa: E731
    return against(ours, lambda: peer.meteor(gts, res), runs=runs)


def startup(data: Path, runs: int) -> dict[str, Any]:
    """From process start: the help, the scoring of 5,000 captions, and how much of it is imports."""
    folder = data / "coco_karpathy_test"
    cli = [sys.executable, "cli.py"]
    score = [*cli, "score", str(folder / "outputs/showedittell_xe.json"), "-r", str(folder / "refs_5000.json")]
    names = "capreward.commands.score, capreward.data, capreward.evaluators.bleu, capreward.evaluators.rouge"
    names += ", capreward.evaluators.cider, capreward.stats.bootstrap, capreward.reports.tables, rich.console"
    imports = [sys.executable, "-c", f"import {names}"]
    environment = {"PYTHONPATH": str(ROOT)}
    return {
        "python": whole_process([sys.executable, "-c", "pass"], runs=runs),
        "help": whole_process([*cli, "--help"], runs=runs),
        "score_5000": whole_process(score, runs=runs),
        "imports_of_score": whole_process(imports, runs=runs, environment=environment),
    }


def memory(captions: list[str], references: list[list[str]], sizes: list[int]) -> dict[str, Any]:
    """Whole processes scoring so many captions x 5 references: seconds and largest memory."""
    figures = {}
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "captions.jsonl"
            write_corpus(path, captions, references, size)
            command = [sys.executable, "cli.py", "score", str(path), "--resamples", "0"]
            done = whole_process(command, runs=1, warm_ups=0)
            figures[f"{size}"] = {**done, "file_mb": path.stat().st_size / 2**20}
    return figures


def write_corpus(path: Path, captions: list[str], references: list[list[str]], size: int) -> None:
    """Captions made of halves of real ones, so that new n-grams keep coming as the corpus grows."""
    generator = random.Random(SEED + size)
    pool = [r.split() for refs in references for r in refs]

    def mixed() -> str:
        first, second = generator.choice(pool), generator.choice(pool)
        return " ".join(first[: len(first) // 2] + second[len(second) // 2 :])

    with path.open("w") as file:
        for i in range(size):
            row = {"image_id": i, "caption": mixed(), "references": [mixed() for _ in range(5)]}
            file.write(json.dumps(row) + "\n")


def main() -> None:
    """Run the sections asked for, print and keep their figures."""
    parser = options(__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path(os.environ.get("CAPREWARD_DATA", ROOT.parent / "shared/data"))
    )
    parser.add_argument("--only", default=SECTIONS)
    parser.add_argument("--captions", type=int, default=5000, help="the first so many of the 5,000")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="of memory's corpora")
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    if not (given.data / "coco_karpathy_test").is_dir():
        sys.exit(f"there is no folder {given.data}/coco_karpathy_test; name the data with --data")
    captions, references = (part[: given.captions] for part in coco(given.data))
    sections: dict[str, Callable[[], dict[str, Any]]] = {
        "pipeline": lambda: pipeline(captions, references, given.runs),
        "cider": lambda: cider_alone(captions, references, given.runs),
        "reward": lambda: reward(captions, references, given.runs),
        "meteor": lambda: meteor(captions, references, given.runs),
        "long": lambda: long_meteor(1),
        "startup": lambda: startup(given.data, given.runs),
        "memory": lambda: memory(captions, references, given.sizes),
    }
    figures = {}
    for name in given.only.split(","):
        if name != "startup" and name != "memory" and java_version() is None:
            print(f"{name}: left out, the peer needs Java")
            continue
        figures[name] = sections[name]()
        print(f"{name}: {json.dumps(figures[name], indent=2)}", flush=True)
    command = f"python benchmarks/text_metrics.py --only {given.only} --runs {given.runs}"
    command += f" --captions {given.captions}" if given.captions != 5000 else ""
    name = "text_metrics" if given.only == SECTIONS else f"text_metrics_{given.only.replace(',', '_')}"
    print(f"kept in {save(name, figures, command, SEED, given.out)}")


if __name__ == "__main__":
    main()
