"""Tables of results: rich tables for people, Markdown and LaTeX for papers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from capreward.reports.results import Results, SystemResult, format_value, label
from capreward.scores import Score

if TYPE_CHECKING:
    from rich.table import Table


def rich_table(results: Results, *, percent: bool = False) -> Table:
    """Return a table with one row per metric, one column per system, the best values in bold, and intervals."""
    from rich.table import Table
    from rich.text import Text

    def cell(system: SystemResult, column: Score) -> Text:
        value = system.scores[column.name].value
        best = best_value(results, column)
        text = Text(format_value(value, column, percent=percent), style="bold" if value == best else "")
        bounds = system.intervals.get(column.name)
        return text.append(f"  {_interval(bounds, column, percent)}", style="not bold dim") if bounds else text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for system in results.systems:
        table.add_column(system.name, justify="right", overflow="fold")
    table.add_row(Text("images", style="dim"), *(Text(f"{s.n_images:,}", style="dim") for s in results.systems))
    for column in results.columns:
        name = f"{label(column.name)} {_arrow(column)}".strip()
        table.add_row(name, *(cell(system, column) for system in results.systems))
    return table


def markdown(results: Results, *, percent: bool = False) -> str:
    """Return a Markdown table, one row per system, and the signatures."""
    head = ["system", *(f"{label(c.name)} {_arrow(c)}".strip() for c in results.columns)]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * len(results.columns) + "|"]
    for system in results.systems:
        cells = []
        for column in results.columns:
            bounds = system.intervals.get(column.name)
            value = format_value(system.scores[column.name].value, column, percent=percent)
            cells.append(f"{value} {_interval(bounds, column, percent)}" if bounds else value)
        lines.append("| " + " | ".join([system.name.replace("|", "\\|"), *cells]) + " |")
    lines += [] if results.footnote is None else ["", results.footnote]
    lines += ["", *(f"`{s}`" + "  " for s in results.signatures())]
    return "\n".join(lines).rstrip() + "\n"


def latex(results: Results, *, percent: bool = False) -> str:
    """Return a booktabs table, one row per system, the best value of each column in bold, signatures as comments."""
    arrows = {"↓": r" $\downarrow$", "": ""}
    head = ["System", *(f"{_escape(label(c.name))}{arrows[_arrow(c)]}" for c in results.columns)]
    lines = [f"% {s}" for s in results.signatures()]
    lines += [
        rf"\begin{{tabular}}{{l{'r' * len(results.columns)}}}",
        r"\toprule",
        " & ".join(head) + r" \\",
        r"\midrule",
    ]
    for system in results.systems:
        cells = []
        for column in results.columns:
            value = system.scores[column.name].value
            text = format_value(value, column, percent=percent)
            several = len(results.systems) > 1
            cells.append(rf"\textbf{{{text}}}" if several and value == best_value(results, column) else text)
        lines.append(" & ".join([_escape(system.name), *cells]) + r" \\")
    lines += [r"\bottomrule", r"\end{tabular}"]
    if results.footnote is not None:
        lines.append(rf"\par\smallskip{{\footnotesize {_escape(results.footnote)}}}")
    return "\n".join(lines) + "\n"


def best_value(results: Results, column: Score) -> float | None:
    """Return the best value of a column.

    It is None for one system, for systems on different images, and for a metric without a direction.
    """
    if results.footnote is not None:
        return None
    values = [s.scores[column.name].value for s in results.systems]
    known = [v for v in values if v == v]
    if len(results.systems) < 2 or not known or column.higher_is_better is None:
        return None
    return max(known) if column.higher_is_better else min(known)


def _arrow(column: Score) -> str:
    return "↓" if column.higher_is_better is False else ""


def _interval(bounds: tuple[float, float], column: Score, percent: bool) -> str:
    low, high = (format_value(b, column, percent=percent) for b in bounds)
    return f"[{low}, {high}]"


def _escape(text: str) -> str:
    for symbol in "\\&%$#_{}":
        text = text.replace(symbol, r"\textbackslash{}" if symbol == "\\" else "\\" + symbol)
    return text
