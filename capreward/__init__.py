"""Image-caption evaluators that are metrics and rewards alike.

import capreward

scores = capreward.score("captions.json", references="refs.json", metrics="bleu,cider")
reward = capreward.load("cider-d(df=coco-train.npz) - 0.5*repetition")
values = reward(capreward.Samples(["a dog runs"], references=[["a dog is running"]]))  # float64 tensor [1]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capreward._version import __version__

if TYPE_CHECKING:
    from capreward.custom_rewards import reward
    from capreward.errors import InputError
    from capreward.evaluators.base import Evaluator
    from capreward.samples import Samples
    from capreward.scores import Score, Scores, Signature
    from capreward.scoring import load, score

__all__ = [
    "Evaluator",
    "InputError",
    "Samples",
    "Score",
    "Scores",
    "Signature",
    "__version__",
    "load",
    "reward",
    "score",
]

_HOMES = {
    "Evaluator": "capreward.evaluators.base",
    "InputError": "capreward.errors",
    "Samples": "capreward.samples",
    "Score": "capreward.scores",
    "Scores": "capreward.scores",
    "Signature": "capreward.scores",
    "load": "capreward.scoring",
    "reward": "capreward.custom_rewards",
    "score": "capreward.scoring",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'capreward' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
