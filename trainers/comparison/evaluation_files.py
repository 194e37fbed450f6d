"""The file ``evaluation.json`` in a run's folder, which holds all that tables and reports need of an evaluation."""

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

JUDGE_NOTE = "the held-out judge is scenes-judge, a CLIP of another architecture that no reward is made of"


def evaluate_all(
    sources: Sequence[NamedCaptioner],
    evaluation: Evaluation,
    devices: DeviceOptions,
    *,
    reuse: bool = False,
    keep: bool = True,
    step: Callable[[str, str, float, float], None] | None = None,
) -> Results:
    """Evaluate several captioners, and store each evaluation in its run's folder.

    Args:
        sources: The captioners.
        evaluation: The settings of the evaluation.
        devices: The device, the precision and the workers.
        reuse: Whether to take stored evaluations of the same weights with the same settings.
        keep: Whether to write ``evaluation.json``.
        step: A function that is called as (system, what, done, total).

    Raises:
        InputError: Captioners, items or metrics cannot be used, or a file cannot be written.
    """
    fingerprints = {source.name: fingerprint(source, sources, evaluation) for source in sources}
    stored = {source.name: read_evaluation(source, fingerprints[source.name]) if reuse else None for source in sources}
    complete = [result for result in stored.values() if result is not None]
    if len(complete) == len(sources):
        return _make_results(_with_pictures(complete, evaluation), evaluation)
    shared = {
        "device": devices.device,
        "download": devices.download or None,
        "skip_broken": devices.skip_broken or None,
    }
    dataset = evaluation.held_out.open()
    workers = 0 if evaluation.held_out.scenes else devices.workers
    metrics = evaluation.evaluators(**shared, workers=workers)
    systems: list[SystemResult] = []
    before: Samples | None = None
    for source in sources:
        result = stored[source.name]
        if result is None:
            progress = None if step is None else _step_of_system(step, source.name)
            result = evaluate_source(
                source, sources, evaluation, dataset, metrics, devices, before=before, progress=progress
            )
            before = result.samples
            if keep and source.evaluation_file is not None:
                write_evaluation(source.evaluation_file, result, fingerprints[source.name])
        systems.append(result)
    return _make_results(systems, evaluation)


def fingerprint(source: NamedCaptioner, sources: Sequence[NamedCaptioner], evaluation: Evaluation) -> dict[str, Any]:
    """Return everything that an evaluation depends on, ready for JSON."""
    section = next((s.config.evaluation for s in sources if s.config is not None), None)
    usual = None if section is None else {"beams": section.beams, "max_length": section.max_length, **section.decoding}
    return {"capreward": __version__, "captioner": _digest(source.path), "usual": usual, **asdict(evaluation)}


def write_evaluation(path: Path, system: SystemResult, settings: dict[str, Any]) -> None:
    """Write an evaluation beside its place, then rename it.

    Raises:
        InputError: The file cannot be written.
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
    content = {
        "name": system.name,
        "asked": settings,
        "matched": system.matched,
        "images": system.n_images,
        "notes": list(system.scores.notes),
        "scores": scores,
        "keys": system.scores.caption_keys,
        "captions": system.scores.captions,
        "references": None if system.samples is None else system.samples.references,
    }
    text = json.dumps(content, ensure_ascii=False, indent=1)
    write_beside(path, lambda beside: _write_text(beside, text))


def read_evaluation(source: NamedCaptioner, settings: dict[str, Any]) -> SystemResult | None:
    """Read the stored evaluation of a captioner; None if there is none of these weights and settings."""
    if source.evaluation_file is None or not source.evaluation_file.is_file():
        return None
    try:
        content = json.loads(source.evaluation_file.read_text(encoding="utf-8"))
        return _system(source.name, content) if content["asked"] == json.loads(json.dumps(settings)) else None
    except (OSError, ValueError, KeyError, TypeError, InputError):
        return None  # cut short or of another version: it is made anew


def _system(name: str, content: dict[str, Any]) -> SystemResult:
    notes = tuple(content["notes"])
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
        for column, row in content["scores"].items()
    ]
    intervals = {n: None if row["interval"] is None else tuple(row["interval"]) for n, row in content["scores"].items()}
    samples = Samples(content["captions"], references=content["references"], key=content["keys"])
    all_scores = Scores(scores, keys=content["keys"], captions=content["captions"])
    return SystemResult(name, all_scores, intervals, content["images"], content["matched"], samples)


def _make_results(systems: Sequence[SystemResult], evaluation: Evaluation) -> Results:
    from capreward.reports.systems import merged_notes

    notes = merged_notes([(s.name, note) for s in systems for note in s.scores.notes], len(systems))
    judge = [JUDGE_NOTE] if evaluation.labelled else []
    return Results(systems, evaluation.bootstrap, [*judge, *notes])


def _with_pictures(systems: Sequence[SystemResult], evaluation: Evaluation) -> Sequence[SystemResult]:
    """Add the pictures to stored evaluations, if the pictures still exist."""
    try:
        dataset = evaluation.held_out.open()
    except InputError:
        return systems
    places = {key: place for place, key in enumerate(dataset.keys)}
    for system in systems:
        if system.samples is not None and all(key in places for key in system.samples.key):
            system.samples.images = [dataset.picture(places[key]) for key in system.samples.key]
    return systems


def _step_of_system(step: Callable[[str, str, float, float], None], name: str) -> Callable[[str, float, float], None]:
    return lambda what, done, total: step(name, what, done, total)


def _digest(source: str) -> str:
    """Return the digest of a captioner's weights; for a checkpoint that is no file, its name."""
    from trainers.captioners.folder import WEIGHTS
    from trainers.comparison.named_captioners import SCENES, shipped_captioner

    path = (shipped_captioner() if source == SCENES else None) or Path(source)
    try:
        with (path / WEIGHTS if path.is_dir() else path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return source


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _write_text(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")
