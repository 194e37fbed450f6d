"""The systems in reports: their scores, their notes, their pictures and their references."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from capreward.reports.results import Bootstrap, Results, SystemResult

if TYPE_CHECKING:
    from PIL import Image

    from capreward.evaluators.base import Evaluator
    from capreward.samples import Samples


def score_system(
    name: str,
    samples: Samples,
    found: Sequence[Evaluator],
    bootstrap: Bootstrap | None,
    matched: str,
    *,
    drop: bool = False,
    progress: Callable[[str, float, float], None] | None = None,
) -> SystemResult:
    """Score samples, with intervals if they are requested.

    Args:
        name: The name of the system.
        samples: The captions of the system with their items.
        found: The evaluators.
        bootstrap: The settings of the intervals; None draws none.
        matched: A sentence for people on how captions met their items.
        drop: Whether to leave out references that equal a candidate of their image.
        progress: A function that is called as (what, done, total); None reports nothing.
    """
    import numpy as np

    from capreward.scoring import evaluate
    from capreward.stats.bootstrap import intervals

    scores = evaluate(found, samples, drop_candidates=drop, progress=progress)
    drawn = intervals(scores.columns(), **asdict(bootstrap)) if bootstrap else {}
    return SystemResult(name, scores, drawn, len(np.unique(samples.item)), matched, samples)


def merged_notes(notes: list[tuple[str, str]], n_systems: int) -> list[str]:
    """Return each note once: under its system's name, or alone if all systems share it."""
    owners: dict[str, list[str]] = {}
    for name, remark in notes:
        owners.setdefault(remark, []).append(name)
    return [
        remark if len(names) == n_systems > 1 else f"{', '.join(names)}: {remark}" for remark, names in owners.items()
    ]


def pictures_of(results: Results) -> Callable[[str], Image.Image | None]:
    """Return a function from a key to its picture; None if there is none to see (stored features, ready pixels)."""
    known: dict[str, Any] = {}
    for system in results.systems:
        if system.samples is not None and system.samples.images is not None:
            known.update(zip(system.samples.key, system.samples.images, strict=True))

    def picture_of(key: str) -> Image.Image | None:
        from capreward.data.images.pictures import as_picture
        from capreward.data.scenes import picture_of as scene_of
        from capreward.encoders.store.feature_store import StoredFeature

        image = known.get(key)
        if isinstance(image, StoredFeature):
            image = scene_of(key)  # a scene can be drawn again; of other images only the features are here
        return None if image is None else as_picture(image).open()

    return picture_of


def references_by_key(results: Results) -> dict[str, list[str]]:
    """Return the references of every image that a system describes."""
    known: dict[str, list[str]] = {}
    for system in results.systems:
        if system.samples is not None and system.samples.references is not None:
            known.update(zip(system.samples.key, system.samples.references, strict=True))
    return known
