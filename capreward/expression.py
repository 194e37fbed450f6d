"""The expression language of rewards and metrics: ``"pacs + 0.5*cider-d - repetition"`` to one Evaluator.

    list        = expression ("," expression)*
    expression  = term (("+" | "-") term)*
    term        = factor ("*" factor)*
    factor      = "-" factor | number | "(" expression ")" | name [ "(" option ("," option)* ")" ]
    option      = word "=" (number | true | false | none | "quoted" | bare text up to "," or ")")

A name may contain hyphens (``cider-d``) and dots with a colon (``my_pkg.mod:brevity``); a minus sign after a name needs
a space before it. Names may be spelt as papers print them (``BLEU-4``, ``PAC-S++``, see :mod:`capreward.metric_names`);
what is parsed has the registered name, so that spellings make no difference. Text is parsed, never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capreward.errors import InputError
from capreward.evaluators import evaluators

NAME = re.compile(r"[A-Za-z_][\w.]*(?:[-@][A-Za-z0-9_]+)*(?:\+\+|:[A-Za-z_][\w.]*)?")
NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
OPTION = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*")
QUOTED = re.compile(r"\"([^\"]*)\"|'([^']*)'")
BARE = re.compile(r"[^,()\s]+(?:\([^()]*\)[^,()\s]*)*")
WORDS = {"true": True, "false": False, "none": None}


@dataclass(frozen=True)
class Number:
    """A constant number in an expression."""

    value: float


@dataclass(frozen=True)
class Metric:
    """An evaluator in an expression, by its name and options."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    def __str__(self) -> str:
        inner = ",".join(f"{k}={v}" for k, v in self.options)
        return f"{self.name}({inner})" if inner else self.name


@dataclass(frozen=True)
class Operation:
    """``left operator right`` in an expression; the operator is one of ``+ - *``."""

    operator: str
    left: Node
    right: Node


Node = Number | Metric | Operation


def is_name(text: str) -> bool:
    """Return whether ``text`` can name an evaluator in an expression (dots and colons aside)."""
    return NAME.fullmatch(text) is not None and not set(text) & set(".:@+")


def parse(text: str) -> Node:
    """Parse one expression.

    Raises:
        InputError: The text is no expression; the message names the column.
    """
    nodes = parse_list(text)
    if len(nodes) > 1:
        raise InputError(f"{text!r} is a list of {len(nodes)} metrics; one expression is needed, joined by + - or *")
    return nodes[0]


def parse_list(text: str) -> list[Node]:
    """Parse expressions separated by commas, ``"bleu,cider,cider-d(df=coco.npz)"``; ``coco`` stands for its metrics."""
    parser = _Parser(text)
    try:
        nodes = [parser.expression()]
        while parser.take(","):
            nodes.append(parser.expression())
    except RecursionError as error:
        raise InputError("the metric expression is nested too deeply") from error
    parser.end()
    return [n for node in nodes for n in _expanded_list(node)]


def _expanded_list(node: Node) -> list[Node]:
    """Return the metrics of a name that stands for several (``coco``); any other node is returned alone."""
    names = evaluators.list_members(node.name) if isinstance(node, Metric) and not node.options else ()
    return [Metric(name) for name in names] or [node]


def metrics_in(node: Node) -> list[Metric]:
    """Return the distinct metrics of an expression, in order of appearance."""
    if isinstance(node, Operation):
        return list(dict.fromkeys([*metrics_in(node.left), *metrics_in(node.right)]))
    return [node] if isinstance(node, Metric) else []


def canonical(node: Node) -> str:
    """Return the expression in one fixed spelling."""
    if isinstance(node, Number):
        return f"{node.value:g}"
    if isinstance(node, Metric):
        return str(node)
    left, right = canonical(node.left), canonical(node.right)
    if node.operator == "*":
        left, right = (f"({t})" if _is_sum(n) else t for t, n in ((left, node.left), (right, node.right)))
        return f"{left}*{right}"
    right = f"({right})" if node.operator == "-" and _is_sum(node.right) else right
    return f"{left} {node.operator} {right}"


def _is_sum(node: Node) -> bool:
    return isinstance(node, Operation) and node.operator != "*"


def options_of(metric: Metric) -> Mapping[str, Any]:
    """Return the options of a metric as a dictionary."""
    return dict(metric.options)


class _Parser:
    """A recursive-descent parser of one string."""

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise InputError(f"a metric expression must be a string, found {text!r}")
        self.text = text
        self.at = 0

    def fail(self, expected: str) -> InputError:
        found = self.text[self.at : self.at + 12] or "the end"
        return InputError(f"in {self.text!r}, column {self.at + 1}: expected {expected}, found {found!r}")

    def blanks(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def take(self, symbol: str) -> bool:
        self.blanks()
        if self.text.startswith(symbol, self.at):
            self.at += len(symbol)
            return True
        return False

    def end(self) -> None:
        self.blanks()
        if self.at < len(self.text):
            raise self.fail("an operator (+ - *), a comma or the end")

    def expression(self) -> Node:
        node = self.term()
        while True:
            operator = next((o for o in "+-" if self.take(o)), None)
            if operator is None:
                return node
            node = Operation(operator, node, self.term())

    def term(self) -> Node:
        node = self.factor()
        while self.take("*"):
            node = Operation("*", node, self.factor())
        return node

    def factor(self) -> Node:
        self.blanks()
        if self.take("-"):
            return Operation("*", Number(-1.0), self.factor())
        if self.take("("):
            node = self.expression()
            if not self.take(")"):
                raise self.fail("')'")
            return node
        number = NUMBER.match(self.text, self.at)
        if number:
            self.at = number.end()
            return Number(float(number.group()))
        name = NAME.match(self.text, self.at)
        if name is None:
            raise self.fail("a metric's name, a number or '('")
        self.at = name.end()
        known = None if ":" in name.group() else evaluators.find(name.group())
        return Metric(known or name.group(), tuple(self.options()) if self.text.startswith("(", self.at) else ())

    def options(self) -> list[tuple[str, Any]]:
        self.take("(")
        found: list[tuple[str, Any]] = []
        while not self.take(")"):
            if found and not self.take(","):
                raise self.fail("',' or ')'")
            name = OPTION.match(self.text, self.at)
            if name is None:
                raise self.fail("an option such as df=coco-train.npz")
            if name.group(1) in dict(found):
                raise self.fail(f"each option once ({name.group(1)} is given twice)")
            self.at = name.end()
            found.append((name.group(1), self.value()))
        return found

    def value(self) -> Any:
        quoted = QUOTED.match(self.text, self.at)
        if quoted:
            self.at = quoted.end()
            return quoted.group(1) if quoted.group(1) is not None else quoted.group(2)
        bare = BARE.match(self.text, self.at)
        if bare is None:
            raise self.fail("a value")
        self.at = bare.end()
        return literal(bare.group())


def literal(text: str) -> Any:
    """Return the value of a bare word: a number, true, false, none, or the text itself."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
