"""From the files that ``capreward score`` is given to the scores of each system."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from capreward.commands.caption_options import (
    InputOptions,
    read_caption_file,
    read_captions_and_references,
    read_reference_files,
)
from capreward.commands.image_options import ImageOptions, evaluator_settings, image_column_of_captions, names_images
from capreward.commands.score_output import OutputOptions
from capreward.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from capreward.data import CaptionTable, ReferenceMatch, References
    from capreward.data.picture_match import PictureMatch
    from capreward.evaluators.base import Evaluator
    from capreward.samples import Samples

SCENES = Path("scenes")  # in place of a file of references: the captions that belong to the pictures


@dataclass(frozen=True)
class ScoreOptions(InputOptions, ImageOptions, OutputOptions):
    """These are the options of ``capreward score``.

    Attributes:
        references: The references lie in these files; ``scenes`` alone means the captions that belong to the pictures
            of scenes.
        metrics: These comma-separated metrics are computed; None means the usual ones for the references and images
            given.
        allow_missing: True leaves out captions without references or images, and False refuses them.
        common: True scores only the images that all caption files describe.
        multiple: True accepts several captions of one image.
        drop_candidate_from_references: True removes references that equal a candidate of their image.
        plugin: These Python files of reward functions are loaded first.
    """

    references: tuple[Path, ...]
    metrics: str | None
    allow_missing: bool
    common: bool
    multiple: bool
    drop_candidate_from_references: bool
    plugin: tuple[Path, ...]


def evaluators_of(options: ScoreOptions) -> tuple[list[Evaluator], list[str]]:
    """Return the evaluators of the metrics that the user names, or else of the usual metrics, and notes on these.

    The usual metrics are those that the references and images given are enough for.
    """
    from capreward.scoring import load_list, usual_metrics

    metrics, notes = options.metrics, list[str]()
    if metrics is None:
        metrics, notes = usual_metrics(
            references=bool(options.references),
            images=names_images(options),
            scenes=_names_scenes_alone(options),
            download=options.download,
        )
    return load_list(metrics, tokenizer=options.tokenizer, **evaluator_settings(options)), notes


def _names_scenes_alone(options: ImageOptions) -> bool:
    """Tell whether all places of images are the scenes world or features of it."""
    if not options.images:
        return False
    from capreward.evaluators.clip_weights import names_scene_images

    return all(map(names_scene_images, options.images))


class ReferenceFiles:
    """The references of the command line, which are read when a file of captions first needs them.

    Args:
        options: The options of the command name the files and say how they are read.
    """

    def __init__(self, options: ScoreOptions) -> None:
        self.paths = list(options.references)
        self.options = options

    @property
    def are_scenes(self) -> bool:
        """Tell whether the references are those of the scenes themselves."""
        return self.paths == [SCENES]

    def is_own(self, captions: Path) -> bool:
        """Tell whether a file of captions is given as its own references.

        Raises:
            InputError: The file is one of several files of references.
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
        """The files hold these references."""
        return read_reference_files(self.paths, self.options)


def samples_of_file(
    path: Path, evaluators: Sequence[Evaluator], references: ReferenceFiles, options: ScoreOptions
) -> tuple[Samples, str]:
    """Return the captions of a file with their references, images and notes, and a sentence on how they matched."""
    from capreward.data import match
    from capreward.scoring import samples_of

    table, known = _captions_and_references(path, evaluators, references, options)
    matched = match(table, known, allow_missing=options.allow_missing, multiple=options.multiple)
    pictures = _matched_pictures(matched, table, evaluators, options)
    if pictures is None:
        return samples_of(matched), matched.report
    samples = samples_of(pictures.matched, pictures.images, notes=pictures.notes)
    return samples, f"{pictures.matched.report}; {pictures.report}"


def names_of(paths: tuple[Path, ...]) -> list[str]:
    """Return the names of files without suffix where these tell the systems apart, and whole paths otherwise."""
    stems = [_name_of(path) for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    names = [str(p) for p in paths]
    if len(set(names)) < len(names):
        raise InputError(f"{next(n for n in names if names.count(n) > 1)} is given twice; name each caption file once")
    return names


def _name_of(path: Path) -> str:
    """Return a file's name up to its first dot outside braces: ``s-{000..003}`` of ``s-{000..003}.tar``."""
    found = re.match(r"(?:\{[^{}]*\}|[^.{]|\{)+", path.name)
    return found[0] if found else path.name


def _captions_and_references(
    path: Path, evaluators: Sequence[Evaluator], references: ReferenceFiles, options: ScoreOptions
) -> tuple[CaptionTable, References | None]:
    """Return the captions of a file and their references.

    These are the references given, or a column of the same file where a metric needs references.
    """
    pictures = image_column_of_captions(options)
    if references.are_scenes:
        table = read_caption_file(path, options, image_column=pictures)
        return table, _scene_references(table)
    if references.is_own(path):
        return read_captions_and_references(path, options, image_column=pictures)
    if references.paths:
        return read_caption_file(path, options, image_column=pictures), references.read
    needing = [e.name for e in evaluators if "references" in e.needs]
    if not needing:
        return read_caption_file(path, options, image_column=pictures), None
    try:
        return read_captions_and_references(path, options, image_column=pictures)
    except InputError as error:
        # The user has to know first of a file that cannot be read at all.
        read_caption_file(path, options, image_column=pictures)
        raise InputError(f"{needing[0]} needs references; {error}") from error


def _matched_pictures(
    matched: ReferenceMatch, table: CaptionTable, evaluators: Sequence[Evaluator], options: ScoreOptions
) -> PictureMatch | None:
    """Return the pictures of the captions where an evaluator or the gallery looks at them, and None otherwise."""
    needing = [e.name for e in evaluators if "images" in e.needs]
    if not needing:
        wanted = options.gallery is not None and names_images(options)
        return _pictures_for_gallery(matched, table, options) if wanted else None
    try:
        return matched_pictures(matched, table, options, allow_missing=options.allow_missing)
    except InputError as error:
        if names_images(options):
            raise
        raise InputError(f"{needing[0]} needs images; give --images FOLDER ({error})") from error


def _pictures_for_gallery(matched: ReferenceMatch, table: CaptionTable, options: ScoreOptions) -> PictureMatch:
    """Return all captions, with the pictures that are there.

    No metric looks at the pictures, so a caption without a picture is scored like the others.
    """
    from capreward.data.picture_match import PictureMatch

    there = matched_pictures(matched, table, options, allow_missing=True)
    pictures = dict(zip(there.matched.keys, there.images, strict=True))
    missing = len(matched.keys) - len(pictures)
    note = f"{missing:,} of {len(matched.keys):,} images have no picture there; they are scored, and not in the gallery"
    return PictureMatch(matched, [pictures.get(key) for key in matched.keys], there.report, (note,) if missing else ())


def matched_pictures(
    matched: ReferenceMatch, table: CaptionTable, options: ImageOptions, *, allow_missing: bool
) -> PictureMatch:
    """Find the pictures of captions where the options say.

    Args:
        matched: The captions, matched with their references.
        table: The file of the captions, which may itself name or hold the pictures.
        options: The options say where the pictures are.
        allow_missing: True leaves out captions whose picture is not found.

    Raises:
        InputError: Pictures are not found.
    """
    from capreward.data.picture_match import match_pictures

    return match_pictures(
        matched,
        table,
        options.images,
        allow_missing=allow_missing,
        image_column=options.image_column,
        id_column=options.images_id_column,
    )


def _scene_references(table: CaptionTable) -> References:
    """Return the captions of the world itself as references of captions of its pictures."""
    from capreward.data import as_references
    from capreward.data.scenes import picture_of

    pictures = {key: picture_of(key) for key in dict.fromkeys(table.keys)}
    strange = next((key for key, picture in pictures.items() if picture is None), None)
    if strange is not None:
        raise InputError(
            f'--references scenes: the id "{strange}" of {table.source} is none of a scene (such as scenes-test-000012)'
        )
    return as_references({key: list(p.scene.captions) for key, p in pictures.items() if p is not None})
