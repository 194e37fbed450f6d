"""The table at the head of a report: one row per metric, one column per run."""

from __future__ import annotations

from html import escape

from capreward.reports.results import Results, SystemResult, format_value, label
from capreward.reports.tables import best_value
from capreward.scores import Score
from trainers.reports.chart import colour

MEANINGS = {
    "cider": "agreement with what people say of the picture",
    "cider-d": "agreement with what people say of the picture",
    "clips": "how well caption and picture fit, by a CLIP",
    "pacs": "how well caption and picture fit, by a CLIP tuned for captions",
    "judge": "how well caption and picture fit, by a CLIP that no reward is made of",
    "repetition": "share of words and phrases said before in the same caption",
    "scene-facts": "precision and recall of the facts stated, in one number",
    "scene-facts-precision": "share of the stated facts that is true",
    "scene-facts-recall": "share of the picture’s facts that is told",
    "scene-grammar": "share of grammatical captions",
    "length": "words per caption",
    "bleu4": "shared phrases of up to four words with the references",
    "rouge": "longest common word sequence with a reference",
    "meteor": "words shared with the references, stems and synonyms included",
    "spice": "facts shared with the references",
}


def headline(results: Results) -> str:
    """The table as HTML, best values bold, each interval below its value."""
    heads = "".join(
        f'<th scope="col" class="{colour(number)}"><span>{escape(system.name)}</span></th>'
        for number, system in enumerate(results.systems)
    )
    rows = "\n".join(_row(results, column) for column in results.columns)
    corner = '<td><span class="hidden">metric</span></td>'
    table = f'<table class="headline">\n<thead><tr>{corner}{heads}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>'
    return f'<div class="wide" tabindex="0" role="region" aria-label="Evaluation">{table}</div>'


def arrow(column: Score) -> str:
    """``↓`` after a metric of which less is better."""
    return " ↓" if column.higher_is_better is False else ""


def _row(results: Results, column: Score) -> str:
    meaning = MEANINGS.get(column.name)
    told = f"<small>{escape(meaning)}</small>" if meaning else ""
    head = f'<th scope="row">{escape(label(column.name))}{arrow(column)}{told}</th>'
    best = best_value(results, column)
    return f"<tr>{head}{''.join(_cell(system, column, best) for system in results.systems)}</tr>"


def _cell(system: SystemResult, column: Score, best: float | None) -> str:
    value = system.scores[column.name].value
    text = format_value(value, column)
    text = f"<b>{text}</b>" if value == best else text
    bounds = system.intervals.get(column.name)
    if bounds is None:
        return f"<td>{text}</td>"
    low, high = (format_value(bound, column) for bound in bounds)
    return f"<td>{text}<small>{low} <span>to {high}</span></small></td>"
