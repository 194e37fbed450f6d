"""FineCapEval from process start: 5,000 rows of 1,000 images, aspects in both ways, with and without overall metrics.

    python benchmarks/finecapeval.py [--images 1000] [--runs 5]

The file is made from captions of scenes, five of each picture, cut into phrases of three words without punctuation,
about five a row; no real one is needed.
"""

from __future__ import annotations

import csv
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from common import ROOT, options, save, seconds

from capreward.data.scenes import scene


def write(folder: Path, images: int) -> tuple[Path, Path]:
    """The annotations and a caption of each image."""
    rows, captions = [], []
    for number in range(images):
        said = scene("test", number).captions
        captions.append({"image_id": f"{number:06d}", "caption": said[0]})
        for caption in said:
            words = caption.replace(",", "").replace(".", "").split()
            phrases = [" ".join(words[at : at + 3]) for at in range(0, len(words), 3)]
            aspects = ["\\;".join(phrases[part::3]) or words[0] for part in range(3)]
            rows.append([f"{number:06d}.jpg", caption, *aspects])
    table, results = folder / "FineCapEval.csv", folder / "captions.json"
    with table.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["image", "caption", "background", "object", "relation"], *rows])
    results.write_text(json.dumps(captions), encoding="utf-8")
    return table, results


def judge(table: Path, results: Path) -> None:
    """Read both files and judge in both ways, within a process."""
    from capreward.data.finecapeval import load_finecapeval
    from capreward.evaluators.finecapeval import FineCapEval
    from capreward.samples import Samples
    from capreward.scoring import evaluate

    data = load_finecapeval(table)
    rows = json.loads(results.read_text(encoding="utf-8"))
    samples = Samples([row["caption"] for row in rows], key=[row["image_id"] for row in rows])
    evaluate([FineCapEval(data), FineCapEval(data, "mended")], samples)


def main() -> None:
    """Time the command and keep the figures."""
    parser = options(__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--images", type=int, default=1000)
    given = parser.parse_args()
    runs = given.runs
    figures = {}

    def kept(name: str, times: list[float]) -> None:
        figures[name] = {"seconds": statistics.median(times), "least": min(times), "most": max(times)}
        print(name, figures[name])

    with tempfile.TemporaryDirectory() as folder:
        table, results = write(Path(folder), given.images)
        command = [sys.executable, "cli.py", "finecapeval", str(results), "--data", str(table), "-q", "--json"]
        for name, more in (("aspects", ["-m", "none"]), ("with overall metrics", [])):
            whole = [*command, *more]
            times = [
                seconds(lambda whole=whole: subprocess.run(whole, cwd=ROOT, check=True, stdout=subprocess.DEVNULL))
                for _ in range(runs + 1)
            ][1:]
            kept(name, times)
        kept("aspects, within a process", [seconds(lambda: judge(table, results)) for _ in range(runs + 1)][1:])
    command = f"python benchmarks/finecapeval.py --images {given.images} --runs {runs}"
    save("finecapeval", {"rows": 5 * given.images, **figures}, command, 0, given.out)


if __name__ == "__main__":
    main()
