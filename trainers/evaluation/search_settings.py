"""Which beam search captions are evaluated by: as asked for, as a run has it, or as a captioner's authors have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError

if TYPE_CHECKING:
    from trainers.captioners.base import Captioner
    from trainers.decoding import Decoding
    from trainers.evaluation.config import EvaluationConfig

BEAMS = 5
MAX_LENGTH = 30
_APART = ("method", "beams", "candidates", "max_length")  # settings of a search that no configuration's decoding has
# How runs of 0.1.0 searched, whoever wrote their captioner.
OLDER: Mapping[str, Any] = {"length_penalty": 1.0, "rules": "dico", "suppress": True}


def authors_search(captioner: Captioner) -> dict[str, Any]:
    """The settings that a released captioner's authors evaluate it by, empty where none are known.

    ``max_length`` is no more than the captioner has places.
    """
    found = dict(captioner.decoding or {})
    if "max_length" in found:
        found["max_length"] = min(int(found["max_length"]), captioner.longest)
    return found


def with_search(evaluation: EvaluationConfig, captioner: Captioner) -> EvaluationConfig:
    """The section with every setting of the search: what it leaves open is the authors', else the usual.

    Raises:
        InputError: settings that cannot be.
    """
    own = authors_search(captioner)
    wrong = next((name for name in evaluation.decoding if name in _APART), None)
    if wrong is not None:
        known = f"give evaluation.{wrong}" if wrong in ("beams", "max_length") else "evaluations search by beams"
        raise InputError(f"evaluation.decoding has no {wrong}; {known}")
    found = replace(
        evaluation,
        beams=evaluation.beams or int(own.get("beams", BEAMS)),
        max_length=evaluation.max_length or int(own.get("max_length", MAX_LENGTH)),
        decoding={**{n: v for n, v in own.items() if n not in _APART}, **evaluation.decoding},
    )
    search_of(found)
    return found


def search_of(evaluation: EvaluationConfig, **asked: Any) -> Decoding:
    """The search of a section, what it leaves open being the usual.

    Args:
        evaluation: of a run.
        asked: settings that win.

    Raises:
        InputError: settings that cannot be.
    """
    from trainers.decoding import Decoding

    known = {"beams": evaluation.beams or BEAMS, "max_length": evaluation.max_length or MAX_LENGTH}
    return Decoding.from_dict({"method": "beam", **known, **evaluation.decoding, **asked})


def as_begun(now: EvaluationConfig, begun: Mapping[str, Any]) -> EvaluationConfig:
    """The section of a run that goes on: what is not asked for stays as it was.

    Args:
        now: as it is asked for.
        begun: the section as the run's folder keeps it; of 0.1.0 without ``decoding``.
    """
    kept = begun.get("decoding")
    return replace(
        now,
        beams=now.beams or begun.get("beams"),
        max_length=now.max_length or begun.get("max_length"),
        decoding={**(kept if isinstance(kept, Mapping) else OLDER), **now.decoding},
    )


def describe_search(settings: Decoding) -> str:
    """A decoding in words: ``beam search with 5 beams, at most 30 tokens``."""
    beams = f"{settings.beams} beam{'s' * (settings.beams != 1)}"
    words = {
        "greedy": "greedy search",
        "sample": f"sampling at temperature {settings.temperature:g}",
        "beam": f"beam search with {beams}",
        "diverse": f"diverse beam search with {beams} in {settings.groups} groups",
    }
    rules = {
        "block_trigrams": "trigrams said before made costly",
        "block_repeats": "no token right after itself",
        "bad_endings": f"no end after {', '.join(settings.bad_endings)}",
    }
    more = [text for name, text in rules.items() if getattr(settings, name)]
    if settings.method in ("beam", "diverse"):
        penalty = settings.length_penalty
        if penalty != 1.0:
            more.append("no length penalty" if penalty == 0 else f"length penalty {penalty}")
        if settings.rules != "dico":
            more.append(f"the rules of {settings.rules}")
    return ", ".join([words[settings.method], f"at most {settings.max_length} tokens", *more])
