"""Corpora for property tests: few words, so that n-grams repeat and match."""

from __future__ import annotations

from hypothesis import strategies as st

WORDS = ["a", "man", "dog", "on", "the", "red", "horse", "of", "and", "café", "two", "n't"]

texts = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
filled = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join)


@st.composite
def corpora(draw, min_items=1, max_items=6, captions=texts):
    """Candidates and references of a few items."""
    n = draw(st.integers(min_items, max_items))
    candidates = draw(st.lists(captions, min_size=n, max_size=n))
    references = draw(st.lists(st.lists(captions, min_size=1, max_size=4), min_size=n, max_size=n))
    return candidates, references
