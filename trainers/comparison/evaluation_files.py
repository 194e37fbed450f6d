"""Evaluations as files: ``evaluation.json`` in a run's folder, all that tables and reports need."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from capreward._version import __version__
from capreward.atomic_files import write_beside
from capreward.errors import InputError
from capreward.reports.results import Results, SystemResult
from capreward.samples import Samples
from capreward.scores import Score, Scores, Signature
from trainers.comparison.evaluation import Evaluation, evaluate_source

if TYPE_CHECKING:
    from trainers.comparison.named_captioners import NamedCaptioner
    from trainers.runs.devices import DeviceOptions

JUDGED = "the held-out judge is scenes-judge, a CLIP of another architecture that no reward is made of"


def evaluate_all(
    sources: Sequence[NamedCaptioner],
    asked: Evaluation,
    running: DeviceOptions,
    *,
    reuse: bool = False,
    keep: bool = True,
    step: Callable[[str, str, float, float], None] | None = None,
) -> Results:
    """Evaluate captioners side by side, and keep each evaluation in its run's folder.

    Args:
        sources: of the captioners.
        asked: of each of them.
        running: where and how.
        reuse: take kept evaluations that asked the same of the same weights.
        keep: write ``evaluation.json``.
        step: called as (system, what, done, total).

    Raises:
        InputError: captioners, items or metrics that cannot be used, or a file that cannot be written.
    """
    marks = {source.name: fingerprint(source, sources, asked) for source in sources}
    kept = {source.name: read_kept(source, marks[source.name]) if reuse else None for source in sources}
    there = [found for found in kept.values() if found is not None]
    if len(there) == len(sources):
        return _results(_with_pictures(there, asked), asked)
    shared = {
        "device": running.device,
        "download": running.download or None,
        "skip_broken": running.skip_broken or None,
    }
    dataset = asked.held_out.open()
    workers = 0 if asked.held_out.scenes else running.workers
    metrics = asked.evaluators(**shared, workers=workers)
    systems: list[SystemResult] = []
    before: Samples | None = None
    for source in sources:
        found = kept[source.name]
        if found is None:
            watch = None if step is None else _named(step, source.name)
            found = evaluate_source(source, sources, asked, dataset, metrics, running, before=before, progress=watch)
            before = found.samples
            if keep and source.kept_at is not None:
                write_kept(source.kept_at, found, marks[source.name])
        systems.append(found)
    return _results(systems, asked)


def fingerprint(source: NamedCaptioner, sources: Sequence[NamedCaptioner], asked: Evaluation) -> dict[str, Any]:
    """All that an evaluation depends on, ready for JSON."""
    own = next((s.config.evaluation for s in sources if s.config is not None), None)
    usual = None if own is None else {"beams": own.beams, "max_length": own.max_length, **own.decoding}
    return {"capreward": __version__, "captioner": _digest(source.path), "usual": usual, **asdict(asked)}


def write_kept(path: Path, system: SystemResult, mark: dict[str, Any]) -> None:
    """Write an evaluation beside its place, then rename it.

    Raises:
        InputError: it cannot be written.
    """
    scores = {}
    for score in system.scores.columns():
        scores[score.name] = {
            "value": _plain(score.value),
            "interval": system.intervals.get(score.name),
            "signature": str(score.signature),
            "higher_is_better": score.higher_is_better,
            "is_share": score.is_share,
            "per_caption": None if score.per_caption is None else [_plain(v) for v in score.per_caption.tolist()],
        }
    told = {
        "name": system.name,
        "asked": mark,
        "matched": system.matched,
        "images": system.n_images,
        "notes": list(system.scores.notes),
        "scores": scores,
        "keys": system.scores.caption_keys,
        "captions": system.scores.captions,
        "references": None if system.samples is None else system.samples.references,
    }
    text = json.dumps(told, ensure_ascii=False, indent=1)
    write_beside(path, lambda beside: _fill(beside, text))


def read_kept(source: NamedCaptioner, mark: dict[str, Any]) -> SystemResult | None:
    """The kept evaluation of a captioner; None where there is none that asked the same of the same weights."""
    if source.kept_at is None or not source.kept_at.is_file():
        return None
    try:
        told = json.loads(source.kept_at.read_text(encoding="utf-8"))
        return _system(source.name, told) if told["asked"] == json.loads(json.dumps(mark)) else None
    except (OSError, ValueError, KeyError, TypeError, InputError):
        return None  # cut short or of another version: it is made anew


def _system(name: str, told: dict[str, Any]) -> SystemResult:
    notes = tuple(told["notes"])
    scores = [
        Score(
            name=column,
            value=_number(row["value"]),
            signature=Signature.parse(row["signature"]),
            per_caption=None if row["per_caption"] is None else np.array([_number(v) for v in row["per_caption"]]),
            higher_is_better=row["higher_is_better"],
            is_share=row["is_share"],
            notes=notes,
        )
        for column, row in told["scores"].items()
    ]
    intervals = {n: None if row["interval"] is None else tuple(row["interval"]) for n, row in told["scores"].items()}
    samples = Samples(told["captions"], references=told["references"], key=told["keys"])
    found = Scores(scores, keys=told["keys"], captions=told["captions"])
    return SystemResult(name, found, intervals, told["images"], told["matched"], samples)


def _results(systems: Sequence[SystemResult], asked: Evaluation) -> Results:
    from capreward.reports.systems import merged_notes

    notes = merged_notes([(s.name, note) for s in systems for note in s.scores.notes], len(systems))
    judge = [JUDGED] if asked.labelled else []
    return Results(systems, asked.bootstrap, [*judge, *notes])


def _with_pictures(systems: Sequence[SystemResult], asked: Evaluation) -> Sequence[SystemResult]:
    """Show the pictures of kept evaluations again, where they are still there."""
    try:
        dataset = asked.held_out.open()
    except InputError:
        return systems
    places = {key: place for place, key in enumerate(dataset.keys)}
    for system in systems:
        if system.samples is not None and all(key in places for key in system.samples.key):
            system.samples.images = [dataset.picture(places[key]) for key in system.samples.key]
    return systems


def _named(step: Callable[[str, str, float, float], None], name: str) -> Callable[[str, float, float], None]:
    return lambda what, done, total: step(name, what, done, total)


def _digest(named: str) -> str:
    """Of a captioner's weights; of a checkpoint that is no file its name."""
    from trainers.captioners.folder import WEIGHTS
    from trainers.comparison.named_captioners import SCENES, shipped_captioner

    path = (shipped_captioner() if named == SCENES else None) or Path(named)
    try:
        with (path / WEIGHTS if path.is_dir() else path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return named


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _fill(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")
