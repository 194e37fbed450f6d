"""``load`` and ``score``: the two calls behind both the command line and the Python interface."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capreward.encoders.pool import share
from capreward.errors import InputError
from capreward.evaluators import evaluators
from capreward.evaluators.base import Evaluator
from capreward.evaluators.clip_weights import missing_weights, shows_scenes
from capreward.evaluators.combined import combine
from capreward.expression import canonical, parse, parse_list
from capreward.samples import Samples
from capreward.scores import Scores

if TYPE_CHECKING:
    from capreward.data import CaptionTable, ReferenceMatch, References

DEFAULT_METRICS = "bleu,rouge,cider"
IMAGE_METRICS = "clips"  # added if images are given
BOTH_METRICS = "clips,refclips"  # added if images and references are given
DEFAULT_TOKENIZER = "ptb-joined"  # it tokenizes whole files, which decides the last digit of published numbers

SHARED = ("tokenizer", "device", "precision", "batch_size", "workers", "skip_broken", "download")

Progress = Callable[[str, float, float], None]
Captions = str | Path | Samples | Sequence[str] | Mapping[str, str | Sequence[str]]
Images = str | Path | Sequence[Any] | Mapping[str, Any]
ReferenceData = str | Path | Sequence[Sequence[str] | str] | Mapping[str, Sequence[str] | str]


def load(expression: str, **options: Any) -> Evaluator:
    """Make the evaluator of an expression.

    Example:
        >>> import capreward
        >>> str(capreward.load("cider-d", df="references").signature())
        'cider-d|tok:ptb|v:0.1.0'
        >>> capreward.load("cider-d(df=references) - 0.5*repetition").name
        'cider-d(df=references) - 0.5*repetition'

    Args:
        expression: A name (``"cider-d"``), a dotted path (``"my_pkg.mod:brevity"``) or an expression over them.
        options: The options of the evaluator, if the expression is a lone name. Any expression takes ``tokenizer``,
            ``device``, ``precision``, ``batch_size``, ``workers``, ``skip_broken`` and ``download``.

    Raises:
        InputError: A name or option is unknown, or the expression is malformed.
    """
    lone = expression in evaluators
    shared = {} if lone else {k: options.pop(k) for k in SHARED if k in options}
    if options and not lone:
        raise InputError(f"options such as {next(iter(options))} belong inside the expression: {expression!r}")
    if lone:
        return evaluators.load(expression, options)
    evaluator = combine(parse(expression), _loader(shared))
    share([evaluator])
    return evaluator


def load_list(metrics: str | Sequence[str | Evaluator], **shared: Any) -> list[Evaluator]:
    """Return the evaluators of a comma-separated list of expressions, or of a list of expressions and evaluators.

    Args:
        metrics: The list, such as ``"bleu,cider,cider-d(df=coco.npz)"``.
        shared: Options such as ``tokenizer`` and ``device``, for every evaluator that has them and does not set its
            own.
    """
    given = [metrics] if isinstance(metrics, str) else list(metrics)
    loader = _loader({k: v for k, v in shared.items() if v is not None})
    found: list[Evaluator] = []
    spelt: list[str] = []
    for entry in given:
        nodes = [] if isinstance(entry, Evaluator) else parse_list(entry)
        found += [entry] if isinstance(entry, Evaluator) else [combine(n, loader) for n in nodes]
        spelt += [entry.name] if isinstance(entry, Evaluator) else [canonical(n) for n in nodes]
    _label_repeated(found, spelt)
    share(e for e in found if not any(e is g for g in given))
    return found


def _label_repeated(found: Sequence[Evaluator], spelt: Sequence[str]) -> None:
    """Label evaluators of one name by their spelling in the list."""
    twice = next((text for text in spelt if spelt.count(text) > 1), None)
    if twice is not None:
        raise InputError(f"the metric {twice!r} is asked for twice")
    names = [e.name for e in found]
    for evaluator, text in zip(found, spelt, strict=True):
        if names.count(evaluator.name) > 1 and text != evaluator.name:
            evaluator.label = text


def default_metrics(*, references: bool, images: bool) -> str:
    """Return the metrics to compute if none is named, given what is known of the images."""
    more = BOTH_METRICS if references else IMAGE_METRICS
    return ",".join([*([DEFAULT_METRICS] if references or not images else []), *([more] if images else [])])


def usual_metrics(*, references: bool, images: bool, scenes: bool, download: bool = False) -> tuple[str, list[str]]:
    """Return the metrics if none are named, and a note if image metrics are left out because weights are missing.

    Args:
        references: Whether there are references.
        images: Whether there are images; without references only image metrics remain, even if weights are missing.
        scenes: Whether the images are of the scenes world, whose weights ship with capreward.
        download: Whether missing weights may be fetched.
    """
    lacking = missing_weights(IMAGE_METRICS, scenes=scenes) if images and references and not download else None
    notes = [] if lacking is None else [f"{BOTH_METRICS.replace(',', ' and ')} are left out: {lacking}"]
    return default_metrics(references=references, images=images and lacking is None), notes


def _usual_evaluators(samples: Samples, how: Mapping[str, Any]) -> tuple[list[Evaluator], list[str]]:
    """Return the evaluators if none are named, with the options of all, and a note on those that are left out."""
    known = {"references": samples.references is not None, "images": samples.images is not None}
    metrics, notes = usual_metrics(**known, scenes=shows_scenes(samples), download=bool(how["download"]))
    return load_list(metrics, **how), notes


def score(
    captions: Captions,
    references: ReferenceData | None = None,
    *,
    images: Images | None = None,
    metrics: str | Sequence[str | Evaluator] | None = None,
    tokenizer: str = DEFAULT_TOKENIZER,
    device: str | None = None,
    precision: str | None = None,
    batch_size: int | None = None,
    workers: int | None = None,
    skip_broken: bool = False,
    download: bool = False,
    drop_candidate_from_references: bool = False,
    allow_missing: bool = False,
    multiple: bool = False,
    progress: Progress | None = None,
) -> Scores:
    """Score captions.

    Example:
        >>> import capreward
        >>> scores = capreward.score(["a dog runs"], [["a dog is running", "the dog runs"]], metrics="rouge")
        >>> round(scores["rouge"].value, 4)
        0.6667

    Args:
        captions: A caption file, a list, a mapping from image to caption (or captions), or ready Samples.
        references: A reference file, a list aligned with the captions, or a mapping from image to references; by
            default the column of references in the caption file, if a metric needs them.
        images: A folder, tar shards (``photos-{000..003}.tar``), a table with pictures, a feature store, ``scenes``, or
            a tuple of several such sources; a mapping from image id to picture; or a list aligned with the captions.
        metrics: Comma-separated expressions, or a list of expressions and evaluators; by default bleu, rouge, cider
            if there are references, clips if there are images, refclips if there are both. If image metrics are left
            out beside references because weights are missing, a note says so.
        tokenizer: ``ptb-joined`` (default), ``ptb``, ``ptb-java`` or ``none``, for metrics that do not name their own.
        device: ``auto`` (default), ``cpu``, ``cuda``, for evaluators with an encoder.
        precision: ``fp32`` (default), ``bf16``, ``fp16``, ``auto``, for evaluators with an encoder.
        batch_size: The number of images per batch, for evaluators with an encoder; None finds it by trial.
        workers: The number of processes that decode images; by default as many as help.
        skip_broken: Whether broken images get no value instead of an error.
        download: Whether to fetch published weights that are not here, if their authors give a plain address.
        drop_candidate_from_references: Whether to remove references that equal a candidate of their image.
        allow_missing: Whether to score the captions that have references and images, and leave out the others.
        multiple: Whether several captions of one image are candidates of one item and not an error.
        progress: A function that is called as (what, done, total) during the work.

    Returns:
        A mapping from metric to Score.

    Raises:
        InputError: Something given cannot be used; the message says what, in one sentence.
    """
    how = {"tokenizer": tokenizer, "device": device, "precision": precision, "batch_size": batch_size}
    how |= {"workers": workers, "skip_broken": skip_broken or None, "download": download or None}
    found = [] if metrics is None else load_list(metrics, **how)
    references = _references_in(captions, images, found) if references is None else references
    samples = to_samples(captions, references, images=images, allow_missing=allow_missing, multiple=multiple)
    found, notes = _usual_evaluators(samples, how) if metrics is None else (found, [])
    return evaluate(found, samples, drop_candidates=drop_candidate_from_references, progress=progress, notes=notes)


def _references_in(captions: Captions, images: Images | None, found: Sequence[Evaluator]) -> str | Path | None:
    """Return the file of captions if it must also give the references, in another column."""
    needing = any("references" in evaluator.needs for evaluator in found) or (not found and images is None)
    return captions if needing and isinstance(captions, (str, Path)) else None


def evaluate(
    found: Sequence[Evaluator],
    samples: Samples,
    *,
    drop_candidates: bool = False,
    progress: Progress | None = None,
    notes: Sequence[str] = (),
) -> Scores:
    """Judge samples with evaluators, which share tokenization and n-gram counts."""
    if drop_candidates:
        samples = samples.without_candidates_in_references()
    for evaluator in found:
        evaluator.check_needs(samples)
    done = []
    for i, evaluator in enumerate(found):
        if progress is not None:
            progress(evaluator.name, i, len(found))
            evaluator.watch(_share_of_progress(progress, i, len(found)))
        try:
            score = evaluator.corpus(samples)
            done.append(score if evaluator.label is None else score.renamed(evaluator.label))
        finally:
            evaluator.watch(None)
    keys = list(samples.caption_keys)
    notes = (*samples.notes, *notes)
    return Scores(done, keys=keys, captions=samples.captions, files=samples.files, notes=notes, named=samples.named)


def _share_of_progress(progress: Progress, index: int, total: int) -> Progress:
    """Return a function that reports the progress of one of ``total`` evaluators as a share of the whole."""
    return lambda what, part, whole: progress(what, index + part / max(whole, 1), total)


def to_samples(
    captions: Captions,
    references: ReferenceData | None = None,
    *,
    images: Images | None = None,
    allow_missing: bool = False,
    multiple: bool = False,
) -> Samples:
    """Bring the inputs that ``score`` accepts into Samples."""
    if isinstance(captions, Samples):
        if references is not None or images is not None:
            raise InputError("give references and images inside Samples, not beside it")
        return captions
    by_key = isinstance(captions, (str, Path, Mapping)) or isinstance(references, (str, Path, Mapping))
    if not by_key:
        if isinstance(images, (str, Path, Mapping)):
            raise InputError("images by name need captions by name; give captions={id: caption} or a list of images")
        return Samples(captions, references=references, images=images)  # type: ignore[arg-type]
    if images is not None and not (isinstance(images, (str, Path, Mapping)) or _are_sources(images)):
        raise InputError(
            "images=[...] goes with a list of captions; give images={id: picture}, a folder or shards, "
            "or a tuple of several"
        )
    return _matched_samples(captions, references, images, allow_missing=allow_missing, multiple=multiple)


def _are_sources(images: Any) -> bool:
    """Return whether images are several sources that are searched together: a tuple of names."""
    return isinstance(images, tuple) and bool(images) and all(isinstance(one, (str, Path)) for one in images)


def _matched_samples(captions: Any, references: Any, images: Any, *, allow_missing: bool, multiple: bool) -> Samples:
    from capreward.data import match
    from capreward.data.picture_match import match_pictures

    table, known = _tables(captions, references)
    met = match(table, known, allow_missing=allow_missing, multiple=multiple)
    if images is None:
        return samples_of(met)
    shown = match_pictures(met, table, images, allow_missing=allow_missing)
    return samples_of(shown.matched, shown.images, notes=shown.notes)


def _tables(captions: Any, references: Any) -> tuple[CaptionTable, References | None]:
    """Return the captions and the references, from files or from Python objects."""
    from capreward.data import as_references, as_table, read_captions, read_captions_with_references, read_references
    from capreward.data.file_content import same_file

    is_file = isinstance(references, (str, Path))
    if isinstance(captions, (str, Path)):
        if is_file and same_file(captions, references):
            return read_captions_with_references(captions)
        table = read_captions(captions)
    else:
        table = as_table(captions)
    if references is None:
        return table, None
    return table, read_references([references]) if is_file else as_references(references)


def samples_of(matched: ReferenceMatch, images: Sequence[Any] | None = None, *, notes: Sequence[str] = ()) -> Samples:
    """Return captions that were matched with their references (and images) as Samples.

    Args:
        matched: The result of ``match``.
        images: For each image its picture.
        notes: Further notes on the files.
    """
    return Samples(
        matched.captions,
        references=matched.references or None,
        images=images,
        item=matched.item,
        key=matched.keys,
        files=matched.files,
        notes=(*matched.notes, *notes),
    )


def _loader(shared: Mapping[str, Any]) -> Callable[[str, Mapping[str, Any]], Evaluator]:
    def make(name: str, options: Mapping[str, Any]) -> Evaluator:
        defaults = {k: v for k, v in shared.items() if k not in options and evaluators.accepts(name, k)}
        return evaluators.load(name, {**defaults, **options})

    return make
