"""``capreward finecapeval``: captions of FineCapEval's images, judged as a whole and by what they name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.command_classes import Command, joined_option
from capreward.commands.caption_options import ReadingOptions, read_caption_file, reading_of_captions
from capreward.commands.options import plugin_option
from capreward.commands.score_output import OutputOptions, bootstrap_of, check_outputs, output_options, write_results
from capreward.plugins import load_plugins
from capreward.scoring import DEFAULT_TOKENIZER

if TYPE_CHECKING:
    from capreward.data import References
    from capreward.data.finecapeval import FineCapEvalData
    from capreward.evaluators.base import Evaluator
    from capreward.reports.results import Results, SystemResult
    from capreward.samples import Samples


@dataclass(frozen=True)
class FineCapEvalOptions(ReadingOptions, OutputOptions):
    """These are the options of ``capreward finecapeval``, and those of output that it does not offer.

    Attributes:
        data: This file is FineCapEval.csv.
        metrics: These comma-separated metrics judge captions as a whole; ``none`` and an empty text name no metric.
        compat_only: True computes the aspects in the original's way alone.
        function_words: True lets the mended recall count articles and the like too.
        tokenizer: The captions of the overall metrics go through the tokenizer of this name.
        allow_missing: True leaves out captions of images that the data does not describe, and False refuses them.
        plugin: These Python files of reward functions are loaded first.
    """

    data: Path
    metrics: str
    compat_only: bool
    function_words: bool
    tokenizer: str
    allow_missing: bool
    plugin: tuple[Path, ...]


@click.command(cls=Command)
@click.argument("captions", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path), help="FineCapEval.csv.")
@joined_option(
    "-m",
    "--metrics",
    default=["bleu,meteor,rouge,cider"],
    show_default=True,
    help="Overall metrics, against the image's five captions; repeatable; none for none.",
)
@click.option("--compat-only", is_flag=True, help="Aspects in the original's way alone.")
@click.option("--function-words", is_flag=True, help="Count articles and the like in the mended recall too.")
@reading_of_captions
@click.option("--tokenizer", default=DEFAULT_TOKENIZER, show_default=True, help="Of the overall metrics.")
@click.option("--allow-missing", is_flag=True, help="Leave out captions of images that the data does not describe.")
@plugin_option
@partial(output_options, percent=False, gallery=False)
def finecapeval(captions: tuple[Path, ...], **options: Any) -> None:
    """Score captions of FineCapEval's images: overall, and what they name of background, objects and relations.

    The aspects are printed twice: as the original computes them, by substrings of the caption (background, object,
    relation), and mended, by stemmed words (background-mended, ...), with the share of the caption's words that
    anybody named (precision-mended). Tables hold values times 100, and intervals over images.

    \b
    capreward finecapeval captions.json --data FineCapEval.csv
    capreward finecapeval mle.json clips.json clips-grammar.json --data FineCapEval.csv --markdown
    capreward finecapeval captions.json --data FineCapEval.csv -m "cider,spice" --json
    """
    given = FineCapEvalOptions.of({"percent": True, "gallery": None, **options})
    check_outputs(given)
    load_plugins(given.plugin)
    write_results(_results_of(captions, given), given)


def _results_of(captions: tuple[Path, ...], options: FineCapEvalOptions) -> Results:
    """Score the files of captions one after the other."""
    from capreward.commands.progress import Bar
    from capreward.commands.score_inputs import names_of
    from capreward.data.finecapeval import load_finecapeval
    from capreward.reports.results import Results
    from capreward.reports.scored_systems import merged_notes, score_system

    data = load_finecapeval(options.data)
    evaluators = _evaluators(data, options)
    bootstrap = bootstrap_of(options)
    systems: list[SystemResult] = []
    notes: list[tuple[str, str]] = []
    with Bar(len(captions), hidden=options.quiet) as bar:
        for name, path in zip(names_of(captions), captions, strict=True):
            bar.start(name)
            samples, matched = _samples_of_file(path, _references(data), options)
            systems.append(score_system(name, samples, evaluators, bootstrap, matched, progress=bar.step))
            notes += [(name, remark) for remark in systems[-1].scores.notes]
    return Results(systems, bootstrap, merged_notes(notes, len(systems)))


def _evaluators(data: FineCapEvalData, options: FineCapEvalOptions) -> list[Evaluator]:
    """Return the overall metrics, then the aspects in one way or in both."""
    from capreward.evaluators.finecapeval import FineCapEval
    from capreward.scoring import load_list

    overall = [] if options.metrics in ("", "none") else [options.metrics]
    aspects: list[Evaluator] = [FineCapEval(data)]
    if not options.compat_only:
        aspects.append(FineCapEval(data, "mended", function_words=options.function_words))
    return load_list([*overall, *aspects], tokenizer=options.tokenizer)


def _references(data: FineCapEvalData) -> References:
    """Return the captions of the data as references."""
    from capreward.data.caption_files import References

    known = {image: [row.caption for row in rows] for image, rows in data.images.items()}
    return References(data.source, "finecapeval", known)


def _samples_of_file(path: Path, references: References, options: FineCapEvalOptions) -> tuple[Samples, str]:
    """Return the captions of a file with their references, and a sentence on how they matched."""
    from capreward.data import match
    from capreward.scoring import samples_of

    matched = match(read_caption_file(path, options), references, allow_missing=options.allow_missing)
    return samples_of(matched), matched.report
