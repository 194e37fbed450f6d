"""Vocabularies of whole words, which are numbered from 1 as in CLIP-Caption-Reward's files; 0 ends a caption."""

from __future__ import annotations

import hashlib
import json
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from capreward.errors import InputError

UNKNOWN = "UNK"
END = "<eos>"
IDS = "ids"
WORDS = "words"
HYPOTHESIS = 20  # the most words of a decoded caption (clipreward.md 3.1); a caption of this length has no end token
LABEL = 16  # the most words of a caption's label, and of a reference
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def split_words(caption: str) -> list[str]:
    """Split a caption into words as Karpathy's tokens are: in lower case, with punctuation deleted."""
    return caption.lower().translate(_PUNCTUATION).split()


def frequent_words(sentences: Iterable[Sequence[str]], threshold: int = 5) -> list[str]:
    """Return the words that occur more than ``threshold`` times, in the order of their first occurrence.

    ``UNK`` is the last word if any word is dropped.

    Args:
        sentences: The sentences, each as a list of words.
        threshold: The largest number of occurrences of a word that is dropped.
    """
    counts = Counter(word for sentence in sentences for word in sentence)
    kept = [word for word, count in counts.items() if count > threshold]
    return [*kept, UNKNOWN] if len(kept) < len(counts) else kept


def words_of_index(table: Mapping[Any, Any], where: str) -> list[str]:
    """Return the words of ``ix_to_word``, a table of words by their numbers ``"1"``, ``"2"``, ...

    Args:
        table: The table.
        where: The file, for messages.

    Raises:
        InputError: If the numbers do not run from 1 without a gap.
    """
    numbered = {str(number): word for number, word in table.items()}
    wanted = [str(number) for number in range(1, len(numbered) + 1)]
    if not wanted or any(number not in numbered for number in wanted):
        raise InputError(f"{where}: ix_to_word must number its words from 1 on without a gap")
    return [str(numbered[number]) for number in wanted]


def words_of_file(path: str | Path) -> list[str]:
    """Read the words of a JSON file with ``ix_to_word`` or ``words``.

    ``cocotalk.json`` and the files of ``capreward vocabulary build`` have ``ix_to_word``.

    Raises:
        InputError: If the file cannot be read as JSON, or if it has neither of the two.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error})") from error
    if isinstance(found, dict) and isinstance(found.get("words"), list):
        return [str(word) for word in found["words"]]
    if isinstance(found, dict) and isinstance(found.get("ix_to_word"), dict):
        return words_of_index(found["ix_to_word"], str(path))
    raise InputError(f"{path} has neither ix_to_word nor words; name CLIP-Caption-Reward's cocotalk.json")


class WordNumbers:
    """Maps words to numbers; a word that is not in the vocabulary is ``UNK``.

    Args:
        words: The words, all different, in the order of their numbers.

    Attributes:
        words: The words, in the order of their numbers.
        digest: The first 8 hexadecimal digits of the SHA-256 of the words in order.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.words = list(words)
        self.digest = hashlib.sha256("\n".join(self.words).encode()).hexdigest()[:8]
        self._numbers = {word: number for number, word in enumerate(self.words, 1)}

    def known(self, words: Iterable[str]) -> list[str]:
        """Return the words, with ``UNK`` in place of those that are not in the vocabulary."""
        return [word if word in self._numbers else UNKNOWN for word in words]

    def ids(self, words: Iterable[str]) -> list[int]:
        """Return the numbers of words.

        Raises:
            InputError: If the vocabulary has neither a word nor ``UNK``.
        """
        unknown = self._numbers.get(UNKNOWN, 0)
        found = []
        for word in words:
            number = self._numbers.get(word, unknown)
            if not number:
                raise InputError(f"the vocabulary has neither {word!r} nor {UNKNOWN}; build it of more captions")
            found.append(number)
        return found

    def text(self, words: Sequence[str], kind: str, *, end: bool) -> str:
        """Return words as one string of ids or known words, as CLIP-Caption-Reward's CIDEr-D reads it.

        Args:
            words: The words of a caption.
            kind: The kind of string: ``ids`` or ``words``.
            end: If True, the end token follows: 0 or ``<eos>``.
        """
        if kind == IDS:
            return " ".join(map(str, [*self.ids(words), *([0] if end else [])]))
        return " ".join([*self.known(words), *([END] if end else [])])


class VocabularyTokenizer:
    """Tokenizes captions into the index strings that CLIP-Caption-Reward rewards, or into words with ``<eos>``.

    A hypothesis is cut at 20 words and a reference at 16, like the rows of tokens and of labels. A shorter caption ends
    in the end token, which counts as a word (clipreward.md 5.1).

    Args:
        vocabulary: The vocabulary.
        kind: The kind of strings: ``ids`` or ``words``; both give the same CIDEr-D.
    """

    def __init__(self, vocabulary: WordNumbers, kind: str = IDS) -> None:
        self.vocabulary = vocabulary
        self.kind = kind

    @property
    def name(self) -> str:
        """The name of the tokenizer in signatures: the kind and the digest of the vocabulary."""
        return f"{self.kind}-{self.vocabulary.digest}"

    def __call__(self, captions: Sequence[str]) -> list[str]:
        """Tokenize N hypotheses."""
        return self._tokenize_cut(captions, HYPOTHESIS)

    def references(self, captions: Sequence[str]) -> list[str]:
        """Tokenize N references."""
        return self._tokenize_cut(captions, LABEL)

    def _tokenize_cut(self, captions: Sequence[str], most: int) -> list[str]:
        pieces = map(split_words, captions)
        return [self.vocabulary.text(words[:most], self.kind, end=len(words) < most) for words in pieces]
