"""METEOR 1.5 without Java: it computes the statistics of ``meteor-1.5.jar`` from the jar's own data files."""

from capreward.text.meteor.engine import MeteorEngine, PreparedReferences
from capreward.text.meteor.score_formula import corpus_score, score_from_statistics, summable

__all__ = ["MeteorEngine", "PreparedReferences", "corpus_score", "score_from_statistics", "summable"]
