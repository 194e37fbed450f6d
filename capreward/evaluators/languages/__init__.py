"""Evaluators for captions in any language; each has its own file in this package."""
