"""Phrases and captions as FineCapEval compares them: word by word, stemmed."""

from __future__ import annotations

from capreward.text.porter import porter_stem
from capreward.text.treebank import word_tokenize

# What carries no content in a phrase. Prepositions are not among them: relations are made of them.
# fmt: off
FUNCTION_WORDS = frozenset((
    "a", "an", "the", "this", "that", "these", "those", "it", "its", "he", "him", "his", "she", "her", "they", "them",
    "their", "we", "us", "our", "you", "your", "i", "my", "who", "which", "there", "is", "are", "was", "were", "be",
    "been", "being", "am", "has", "have", "had", "do", "does", "did", "and", "or", "but", "s",
))
# fmt: on


class Stemmer:
    """Texts to stemmed words; each distinct text is tokenized once, and each distinct word stemmed once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._texts: dict[str, tuple[tuple[str, bool], ...]] = {}  # stems that are not empty, and function words

    def words(self, text: str, *, function_words: bool = True) -> tuple[str, ...]:
        """The words of a text: tokens, stemmed, without characters that are no letters or digits, none empty.

        Args:
            text: in the case in which it is to be tokenized; stems are in lower case.
            function_words: keep articles, pronouns, forms of be, have and do, and conjunctions.
        """
        found = self._texts.get(text)
        if found is None:
            each = [(self._stem(token), _bare(token) in FUNCTION_WORDS) for token in word_tokenize(text)]
            found = self._texts[text] = tuple((stem, function) for stem, function in each if stem)
        return tuple(stem for stem, function in found if function_words or not function)

    def _stem(self, token: str) -> str:
        stem = self._known.get(token)
        if stem is None:
            stem = self._known[token] = _bare(porter_stem(token))
        return stem


def _bare(token: str) -> str:
    return token if token.isalnum() else "".join(letter for letter in token if letter.isalnum())
