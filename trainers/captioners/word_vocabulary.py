"""A vocabulary of whole words, in the form of CLIP-Caption-Reward's files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from capreward.errors import InputError
from capreward.text.vocabulary import UNKNOWN, frequent_words, split_words, words_of_file, words_of_index

WORDS_FILE = "vocabulary.json"


class WordVocabulary:
    """A vocabulary of words that are numbered from 1; the token 0 begins, ends and pads (clipreward.md 2.2).

    Args:
        words: The words, all different, in the order of their numbers. ``UNK`` among them stands for every unknown
            word.

    Raises:
        InputError: There are no words, a word is empty, or a word occurs twice.
    """

    kind = "words"
    bos = eos = pad = 0

    def __init__(self, words: Sequence[str]) -> None:
        self.words = [str(word) for word in words]
        self._ids = {word: number for number, word in enumerate(self.words, 1)}
        if not self.words or "" in self._ids or len(self._ids) < len(self.words):
            raise InputError(
                f"a vocabulary needs words that differ; found {len(self.words)} with {len(self._ids)} of them"
            )
        self.size = len(self.words) + 1
        self.unknown = self._ids.get(UNKNOWN)

    @classmethod
    def of_index(cls, table: Mapping[Any, Any], where: str) -> WordVocabulary:
        """Build it from ``ix_to_word``, a table of words by their numbers ``"1"``, ``"2"``, ...

        Raises:
            InputError: The numbers do not run from 1 without a gap.
        """
        return cls(words_of_index(table, where))

    @classmethod
    def of_captions(cls, captions: Iterable[str], threshold: int = 5) -> WordVocabulary:
        """Collect the words of captions that occur more than ``threshold`` times, in order of first appearance.

        ``UNK`` comes last if a word was dropped.

        Raises:
            InputError: No word is frequent enough.
        """
        return cls(frequent_words(map(split_words, captions), threshold))

    def encode(self, caption: str) -> list[int]:
        """Return the ids of a caption's words in lower case, without punctuation.

        Raises:
            InputError: A word is unknown, and the vocabulary has no ``UNK``.
        """
        unknown = self._ids.get(UNKNOWN, 0)
        ids = [self._ids.get(word, unknown) for word in split_words(caption)]
        if 0 in ids:
            word = split_words(caption)[ids.index(0)]
            raise InputError(
                f"the vocabulary has neither {word!r} of {caption!r} nor {UNKNOWN}; build it with more words"
            )
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the words, joined by blanks; pieces that end in ``@@`` are joined to the next piece."""
        return " ".join(self.words[int(i) - 1] for i in ids if i != self.pad).replace("@@ ", "")

    def save(self, folder: Path) -> dict[str, Any]:
        """Write ``vocabulary.json``."""
        text = json.dumps({"words": self.words}, ensure_ascii=False)
        (folder / WORDS_FILE).write_text(text + "\n", encoding="utf-8")
        return {"kind": self.kind, "file": WORDS_FILE}


def read_words(path: Path) -> WordVocabulary:
    """Read a ``vocabulary.json`` of a captioner, or a JSON file with ``ix_to_word`` (``cocotalk.json``).

    Raises:
        InputError: The file is neither of the two.
    """
    return WordVocabulary(words_of_file(path))
