"""The stemmer of phrases and captions for FineCapEval, which compares them word by word."""

from __future__ import annotations

from capreward.text.nltk_tokenizer import word_tokenize
from capreward.text.porter_stemmer import porter_stem

# Words that carry no content in a phrase; prepositions do, since relations consist of them.
# fmt: off
FUNCTION_WORDS = frozenset((
    "a", "an", "the", "this", "that", "these", "those", "it", "its", "he", "him", "his", "she", "her", "they", "them",
    "their", "we", "us", "our", "you", "your", "i", "my", "who", "which", "there", "is", "are", "was", "were", "be",
    "been", "being", "am", "has", "have", "had", "do", "does", "did", "and", "or", "but", "s",
))
# fmt: on


class Stemmer:
    """Turns texts into stemmed words; each distinct text is tokenized once, and each distinct word is stemmed once."""

    def __init__(self) -> None:
        self._stems: dict[str, tuple[str, str]] = {}  # for a token, the stem with all letters and with ASCII alone
        self._texts: dict[str, tuple[tuple[str, str, bool], ...]] = {}  # both stems, and whether it is a function word

    def words(self, text: str, *, function_words: bool = True, ascii_only: bool = False) -> tuple[str, ...]:
        """Return the stemmed words of a text, without characters that are neither letters nor digits.

        Args:
            text: The text, in the case in which it is to be tokenized; stems are in lower case.
            function_words: If True, articles, pronouns, forms of be, have and do, and conjunctions are kept.
            ascii_only: If True, only ASCII letters and digits are kept, as in the original: "cafe" with an accent
                becomes "caf".
        """
        found = self._texts.get(text)
        if found is None:
            each = [(*self._stem(token), _letters_and_digits(token) in FUNCTION_WORDS) for token in word_tokenize(text)]
            found = self._texts[text] = tuple(each)
        forms = ((plain if ascii_only else stem, function) for stem, plain, function in found)
        return tuple(form for form, function in forms if form and (function_words or not function))

    def _stem(self, token: str) -> tuple[str, str]:
        known = self._stems.get(token)
        if known is None:
            stem = porter_stem(token)
            known = self._stems[token] = (
                _letters_and_digits(stem),
                "".join(c for c in stem if c.isascii() and c.isalnum()),
            )
        return known


def _letters_and_digits(token: str) -> str:
    return token if token.isalnum() else "".join(letter for letter in token if letter.isalnum())
