"""A reward of your own in five lines, and an expression that combines it with CIDEr-D.

Run it from the checkout: ``python examples/custom_reward.py``; or from the command line:
``capreward score examples/captions.json --plugin examples/custom_reward.py --metrics brevity``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import capreward

HERE = Path(__file__).parent


@capreward.reward("brevity")
def brevity(captions: list[str], target: int = 9, **context: Any) -> list[float]:
    """Minus the distance to a wanted number of words, as a share of it."""
    return [-abs(len(c.split()) - target) / target for c in captions]


def main() -> None:
    """Reward three candidates of one image."""
    reward = capreward.load(f"cider-d(df='{HERE / 'references.json'}') + 2*brevity(target=8) - repetition")
    samples = capreward.Samples(
        ["a brown dog runs on the beach", "a dog and a dog and a dog", "a photo"],
        references=[["A brown dog running on the beach with a ball.", "A dog runs along the shore."]],
        item=[0, 0, 0],
    )
    for caption, value in zip(samples.captions, reward(samples).tolist(), strict=True):
        print(f"{value:7.3f}  {caption}")


if __name__ == "__main__":
    main()
