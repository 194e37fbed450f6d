"""The beam search of evaluations: as it is asked for, as a run has it, or as a captioner's authors have it."""

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
_NOT_IN_DECODING = (
    "method",
    "beams",
    "candidates",
    "max_length",
)  # settings of a search that no configuration's decoding has
# The search settings of runs of 0.1.0, whoever wrote their captioner.
SEARCH_OF_0_1_0: Mapping[str, Any] = {"length_penalty": 1.0, "rules": "dico", "suppress": True}


def authors_search(captioner: Captioner) -> dict[str, Any]:
    """Return the search settings that a released captioner's authors use in evaluations; empty if they are not known.

    ``max_length`` is at most the number of places of the captioner.
    """
    settings = dict(captioner.decoding or {})
    if "max_length" in settings:
        settings["max_length"] = min(int(settings["max_length"]), captioner.longest)
    return settings


def with_search(evaluation: EvaluationConfig, captioner: Captioner) -> EvaluationConfig:
    """Return the section with every setting of the search.

    Open settings take the authors' values, else the usual ones.

    Raises:
        InputError: A setting is wrong.
    """
    authors = authors_search(captioner)
    wrong = next((name for name in evaluation.decoding if name in _NOT_IN_DECODING), None)
    if wrong is not None:
        known = f"give evaluation.{wrong}" if wrong in ("beams", "max_length") else "evaluations search by beams"
        raise InputError(f"evaluation.decoding has no {wrong}; {known}")
    complete = replace(
        evaluation,
        beams=evaluation.beams or int(authors.get("beams", BEAMS)),
        max_length=evaluation.max_length or int(authors.get("max_length", MAX_LENGTH)),
        decoding={**{n: v for n, v in authors.items() if n not in _NOT_IN_DECODING}, **evaluation.decoding},
    )
    search_of(complete)
    return complete


def search_of(evaluation: EvaluationConfig, **overrides: Any) -> Decoding:
    """Return the search of a section; its open settings take the usual values.

    Args:
        evaluation: The section of a run.
        overrides: Settings that replace those of the section.

    Raises:
        InputError: A setting is wrong.
    """
    from trainers.decoding import Decoding

    lengths = {"beams": evaluation.beams or BEAMS, "max_length": evaluation.max_length or MAX_LENGTH}
    return Decoding.from_dict({"method": "beam", **lengths, **evaluation.decoding, **overrides})


def keep_begun_search(now: EvaluationConfig, begun: Mapping[str, Any]) -> EvaluationConfig:
    """Return the section of a run that goes on: settings that are not asked for stay as they were.

    Args:
        now: The section as it is asked for.
        begun: The section as the run's folder stores it; that of 0.1.0 has no ``decoding``.
    """
    decoding = begun.get("decoding")
    return replace(
        now,
        beams=now.beams or begun.get("beams"),
        max_length=now.max_length or begun.get("max_length"),
        decoding={**(decoding if isinstance(decoding, Mapping) else SEARCH_OF_0_1_0), **now.decoding},
    )


def describe_search(settings: Decoding) -> str:
    """Describe a decoding in words, such as ``beam search with 5 beams, at most 30 tokens``."""
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
