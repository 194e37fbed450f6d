"""From the files that ``capreward score`` is given to the scores of each system."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.commands.options import encoding, reading, reading_both, showing
from capreward.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capreward.data import CaptionTable, ReferenceMatch, References
    from capreward.data.picture_match import PictureMatch
    from capreward.evaluators.base import Evaluator
    from capreward.samples import Samples

SCENES = Path("scenes")  # in place of a file of references: the captions that belong to the pictures


def evaluators_of(options: dict[str, Any]) -> tuple[list[Evaluator], list[str]]:
    """The evaluators asked for, or those that the references and images given are enough for, and notes on these."""
    from capreward.scoring import load_list, usual_metrics

    metrics: str | None = options["metrics"]
    notes: list[str] = []
    if metrics is None:
        known = {"references": bool(options["references"]), "images": _shows(options)}
        metrics, notes = usual_metrics(**known, scenes=_shows_scenes(options), download=options["download"])
    return load_list(metrics, tokenizer=options["tokenizer"], **encoding(options)), notes


def _shows_scenes(options: dict[str, Any]) -> bool:
    """Whether all places of images are the scenes world or features of it."""
    if not options["images"]:
        return False
    from capreward.evaluators.clip_weights import names_scene_images

    return all(map(names_scene_images, options["images"]))


class ReferenceFiles:
    """The references of the command line: read when a file of captions first needs them.

    Args:
        options: of the command.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        self.paths: list[Path] = list(options["references"])
        self.options = options

    @property
    def are_scenes(self) -> bool:
        """Whether the references are those of the scenes themselves."""
        return self.paths == [SCENES]

    def is_own(self, captions: Path) -> bool:
        """Whether a file of captions is given as its own references.

        Raises:
            InputError: It is one of several files of references.
        """
        from capreward.data.file_content import same_file

        same = [path for path in self.paths if same_file(path, captions)]
        if same and len(self.paths) > 1:
            raise InputError(
                f"{captions} is given as captions and among {len(self.paths)} files of references; "
                "give it alone as references, or leave it out of them"
            )
        return bool(same)

    @cached_property
    def read(self) -> References:
        """The references, from the files."""
        from capreward.data import read_references

        return read_references(self.paths, **reading(self.options, of_references=True))


def samples_of_file(
    path: Path, found: Sequence[Evaluator], references: ReferenceFiles, options: dict[str, Any]
) -> tuple[Samples, str]:
    """The captions of a file with their references, images and notes, and how they were matched."""
    from capreward.data import match
    from capreward.scoring import samples_of

    table, known = _candidates(path, found, references, options)
    met = match(table, known, allow_missing=options["allow_missing"], multiple=options["multiple"])
    shown = _shown(met, table, found, options)
    met = met if shown is None else shown.matched
    samples = samples_of(met, None if shown is None else shown.images, notes=() if shown is None else shown.notes)
    reports = [met.report, *([shown.report] if shown else [])]
    return samples, "; ".join(reports)


def names_of(paths: tuple[Path, ...]) -> list[str]:
    """File names without suffix where that tells the systems apart, whole paths otherwise."""
    stems = [_name_of(path) for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    names = [str(p) for p in paths]
    if len(set(names)) < len(names):
        raise InputError(f"{next(n for n in names if names.count(n) > 1)} is given twice; name each caption file once")
    return names


def _name_of(path: Path) -> str:
    """The name of a file up to the first dot that is not within braces: ``s-{000..003}`` of ``s-{000..003}.tar``."""
    found = re.match(r"(?:\{[^{}]*\}|[^.{]|\{)+", path.name)
    return found[0] if found else path.name


def _candidates(
    path: Path, found: Sequence[Evaluator], references: ReferenceFiles, options: dict[str, Any]
) -> tuple[CaptionTable, References | None]:
    """The captions, and their references: those given, or a column of the same file where a metric needs any."""
    from capreward.data import read_captions, read_captions_with_references

    how = reading(options, of_references=False)
    needing = [e.name for e in found if "references" in e.needs]
    if references.are_scenes:
        table = read_captions(path, **how)
        return table, _scene_references(table)
    if references.is_own(path):
        return read_captions_with_references(path, **reading_both(options))
    if references.paths:
        return read_captions(path, **how), references.read
    if not needing:
        return read_captions(path, **how), None
    try:
        return read_captions_with_references(path, **reading_both(options))
    except InputError as error:
        read_captions(path, **how)  # a file that cannot be read at all is the thing to say first
        raise InputError(f"{needing[0]} needs references; {error}") from error


def _shown(
    met: ReferenceMatch, table: CaptionTable, found: Sequence[Evaluator], options: dict[str, Any]
) -> PictureMatch | None:
    """The pictures of the captions, where an evaluator or the gallery looks at them."""
    needing = [e.name for e in found if "images" in e.needs]
    if not needing and (options["gallery"] is None or not _shows(options)):
        return None
    from capreward.data.picture_match import match_pictures

    if not needing:
        return _for_gallery(met, table, options)
    try:
        return match_pictures(met, table, options["images"], allow_missing=options["allow_missing"], **showing(options))
    except InputError as error:
        if _shows(options):
            raise
        raise InputError(f"{needing[0]} needs images; give --images FOLDER ({error})") from error


def _for_gallery(met: ReferenceMatch, table: CaptionTable, options: dict[str, Any]) -> PictureMatch:
    """All captions, with the pictures that are there: no metric looks at them, so none is left out of the numbers."""
    from capreward.data.picture_match import PictureMatch, match_pictures

    shown = match_pictures(met, table, options["images"], allow_missing=True, **showing(options))
    pictures = dict(zip(shown.matched.keys, shown.images, strict=True))
    missing = len(met.keys) - len(pictures)
    told = f"{missing:,} of {len(met.keys):,} images have no picture there; they are scored, and not in the gallery"
    return PictureMatch(met, [pictures.get(key) for key in met.keys], shown.report, (told,) if missing else ())


def _shows(options: dict[str, Any]) -> bool:
    """Whether the user says where the images are."""
    return bool(options["images"]) or options["image_column"] is not None


def _scene_references(table: CaptionTable) -> References:
    from capreward.data import as_references
    from capreward.data.scenes import picture_of

    pictures = {key: picture_of(key) for key in dict.fromkeys(table.keys)}
    strange = next((key for key, picture in pictures.items() if picture is None), None)
    if strange is not None:
        raise InputError(
            f'--references scenes: the id "{strange}" of {table.source} is none of a scene (such as scenes-test-000012)'
        )
    return as_references({key: list(p.scene.captions) for key, p in pictures.items() if p is not None})
