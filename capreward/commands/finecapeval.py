"""``capreward finecapeval``: captions of FineCapEval's images, judged as a whole and by what they name."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from capreward.commands.command import Command, joined_option
from capreward.commands.options import plugin_option, reading, reading_of_captions
from capreward.commands.score_output import check_outputs, output_options, write_results
from capreward.plugins import load_plugins
from capreward.reports.systems import merged_notes
from capreward.scoring import DEFAULT_TOKENIZER

if TYPE_CHECKING:
    from capreward.data import References
    from capreward.data.finecapeval import FineCapEvalData
    from capreward.evaluators.base import Evaluator
    from capreward.reports.results import Results, SystemResult


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
    check_outputs({"gallery": None, **options})
    load_plugins(options["plugin"])
    write_results(_results(captions, options), {"percent": True, "gallery": None, **options})


def _results(captions: tuple[Path, ...], options: dict[str, Any]) -> Results:
    from capreward.commands.progress import Bar
    from capreward.commands.score_inputs import names_of
    from capreward.data.finecapeval import load_finecapeval
    from capreward.reports.results import Bootstrap, Results

    data = load_finecapeval(options["data"])
    found = _evaluators(data, options)
    bootstrap = Bootstrap(options["resamples"], seed=options["seed"]) if options["resamples"] else None
    systems: list[SystemResult] = []
    notes: list[tuple[str, str]] = []
    with Bar(len(captions), hidden=options["quiet"]) as bar:
        for name, path in zip(names_of(captions), captions, strict=True):
            bar.start(name)
            system, remarks = _system(name, path, found, _references(data), bootstrap, options, bar)
            systems.append(system)
            notes += [(name, remark) for remark in remarks]
    return Results(systems, bootstrap, merged_notes(notes, len(systems)))


def _evaluators(data: FineCapEvalData, options: dict[str, Any]) -> list[Evaluator]:
    """Overall metrics, then the aspects in one way or in both."""
    from capreward.evaluators.finecapeval import FineCapEval
    from capreward.scoring import load_list

    overall = [] if options["metrics"] in ("", "none") else [options["metrics"]]
    aspects: list[Evaluator] = [FineCapEval(data)]
    if not options["compat_only"]:
        aspects.append(FineCapEval(data, "mended", function_words=options["function_words"]))
    return load_list([*overall, *aspects], tokenizer=options["tokenizer"])


def _references(data: FineCapEvalData) -> References:
    from capreward.data.captions import References

    known = {image: [row.caption for row in rows] for image, rows in data.images.items()}
    return References(data.source, "finecapeval", known)


def _system(
    name: str,
    path: Path,
    found: list[Evaluator],
    references: References,
    bootstrap: Any,
    options: dict[str, Any],
    bar: Any,
) -> tuple[SystemResult, list[str]]:
    """Score one file of captions; the result and the notes on it."""
    from capreward.data import match, read_captions
    from capreward.reports.systems import score_system
    from capreward.scoring import samples_of

    table = read_captions(path, **reading({"image_column": None, **options}, of_references=False))
    met = match(table, references, allow_missing=options["allow_missing"])
    result = score_system(name, samples_of(met), found, bootstrap, met.report, progress=bar.step)
    return result, result.scores.notes
