"""Tokenizers for captions in languages other than English; each has its own file in this package."""
