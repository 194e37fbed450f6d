"""How fast the scenes world is: pictures, captions, the grammar and the facts, each in one process.

python benchmarks/scenes.py [--count 5000]
"""

from __future__ import annotations

import json

from common import options, save, seconds

from capreward.data.scenes import ScenePicture, is_grammatical, scene
from capreward.evaluators.scenes import SceneFacts
from capreward.samples import Samples


def main() -> None:
    """Measure, print and keep the rates per second."""
    parser = options(__doc__)
    parser.add_argument("--count", type=int, default=5000)
    given = parser.parse_args()
    count = given.count
    for index in range(1000):  # sprites are drawn once
        scene("train", index).draw()
    first = 1_000_000
    pictures = seconds(lambda: [scene("train", first + i).draw() for i in range(count)])
    scenes = [scene("train", 2 * first + i) for i in range(count)]
    written = seconds(lambda: [s.captions for s in scenes])
    captions = [c for s in scenes for c in s.captions]
    judged = seconds(lambda: [is_grammatical(c) for c in captions])
    images = [ScenePicture("train", 2 * first + i) for i in range(count)]
    item = [i for i in range(count) for _ in range(5)]
    facts = seconds(lambda: SceneFacts().corpus(Samples(captions, images=images, item=item)))
    rates = {
        "pictures_per_s": count / pictures,
        "captions_per_s": len(captions) / written,
        "grammar_captions_per_s": len(captions) / judged,
        "facts_captions_per_s": len(captions) / facts,
    }
    print(json.dumps(rates, indent=2))
    print(f"kept in {save('scenes', rates, f'python benchmarks/scenes.py --count {count}', 0, given.out)}")


if __name__ == "__main__":
    main()
