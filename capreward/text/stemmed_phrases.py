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
        self._known: dict[str, tuple[str, str]] = {}  # both forms of a token's stem
        self._texts: dict[str, tuple[tuple[str, str, bool], ...]] = {}  # both forms, and whether it is a function word

    def words(self, text: str, *, function_words: bool = True, ascii_only: bool = False) -> tuple[str, ...]:
        """The words of a text: tokens, stemmed, without characters that are no letters or digits, none empty.

        Args:
            text: in the case in which it is to be tokenized; stems are in lower case.
            function_words: keep articles, pronouns, forms of be, have and do, and conjunctions.
            ascii_only: a to z and digits alone are letters, as the original has it: "cafe" with an accent becomes
                "caf".
        """
        found = self._texts.get(text)
        if found is None:
            each = [(*self._stem(token), _bare(token) in FUNCTION_WORDS) for token in word_tokenize(text)]
            found = self._texts[text] = tuple(each)
        forms = ((plain if ascii_only else stem, function) for stem, plain, function in found)
        return tuple(form for form, function in forms if form and (function_words or not function))

    def _stem(self, token: str) -> tuple[str, str]:
        known = self._known.get(token)
        if known is None:
            stem = porter_stem(token)
            known = self._known[token] = (_bare(stem), "".join(c for c in stem if c.isascii() and c.isalnum()))
        return known


def _bare(token: str) -> str:
    return token if token.isalnum() else "".join(letter for letter in token if letter.isalnum())
