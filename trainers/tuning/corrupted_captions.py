"""Random corruptions of captions, as CLIP-Caption-Reward makes its negatives (Cho et al. 2022, section 3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from capreward.errors import InputError, shorten
from capreward.text.vocabulary import UNKNOWN
from trainers.captioners.word_vocabulary import WordVocabulary

if TYPE_CHECKING:
    import random

KINDS = ("repeat", "remove", "insert", "swap", "shuffle")
MOST = 3  # words of a piece, copies, insertions, substitutions
_FROM_VOCABULARY = ("insert", "swap")


class Corruptor:
    """A corruptor of captions, which draws the kind of each corruption uniformly.

    Words are what blanks separate.

    All numbers are uniform, bounds included (clipreward.md 6.2). L is the number of words of the caption:

    - repeat: a piece of n in 1..3 neighbours is copied k in 1..3 times; each copy is put whole into a slot 0..length of
    the caption as it has grown by then;
    - remove: a piece of n in 1..3 neighbours is deleted;
    - insert: k in 1..3 times, a random word of the vocabulary is put at a slot 0..length - 1, never at the very end;
    - swap: k in 1..3 times, a position, which may repeat, gets a random word of the vocabulary, not its own;
    - shuffle: the words are permuted.

    The original may return the caption itself (shuffle; swap back), and it fails on captions shorter than n. With
    ``mended``, a draw that gives the caption again (letter case aside) is repeated with the same kind. Then n is at
    most L for repeat and L - 1 for remove, so that a word remains, and the kind is drawn from those that the caption
    permits: repeat, insert and swap need one word, remove two, shuffle two that differ.

    Args:
        words: The vocabulary, without the mark of unknown words; only insert and swap need it.
        kinds: Kinds of ``KINDS``, each equally likely.
        mended: Whether to mend the original; False does exactly what the original does.

    Raises:
        InputError: A kind is unknown, there is none, or there are too few words: one for insert, two that differ for
            swap.
    """

    def __init__(self, words: Sequence[str], kinds: Sequence[str] = KINDS, *, mended: bool = True) -> None:
        self.words = list(dict.fromkeys(words))
        self.kinds = tuple(kinds)
        self.mended = mended
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds or len(set(self.kinds)) < len(self.kinds):
            given = shorten([str(kind) for kind in self.kinds]) or "none"
            raise InputError(f"corruptions must be some of {', '.join(KINDS)}, each once; found {given}")
        differing = len({word.lower() for word in self.words})
        for kind, least in zip(_FROM_VOCABULARY, (1, 2), strict=True):
            if kind in self.kinds and differing < least:
                raise InputError(
                    f"the corruption {kind} needs a vocabulary of {least} words or more, found {differing}; give more "
                    f"captions, count rarer words or leave {kind} out"
                )

    @classmethod
    def of_captions(
        cls, captions: Iterable[str], least: int = 6, kinds: Sequence[str] = KINDS, *, mended: bool = True
    ) -> Corruptor:
        """Make a corruptor with the words that occur ``least`` times or more, in order of first appearance.

        Args:
            captions: The captions, which are read in lower case without punctuation.
            least: The least number of occurrences of a word; the original's is 6.
            kinds: Kinds of ``KINDS``, each equally likely.
            mended: Whether to mend the original; False does exactly what the original does.

        Raises:
            InputError: A kind is unknown, there is none, or there are too few words: one for insert, two that differ
                for swap.
        """
        vocabulary = WordVocabulary.of_captions(captions, threshold=least - 1)
        return cls([word for word in vocabulary.words if word != UNKNOWN], kinds, mended=mended)

    def corrupt(self, caption: str, chance: random.Random) -> tuple[str, str]:
        """Return a kind and the caption after this corruption, its words joined by single blanks.

        Args:
            caption: The caption to corrupt.
            chance: The generator of everything that is drawn.

        Raises:
            InputError: No kind can change this caption; or, without ``mended``, the caption is too short for what was
                drawn.
        """
        words = caption.split()
        if not self.mended:
            kind = chance.choice(self.kinds)
            return kind, " ".join(self._apply(kind, words, chance))
        lower = [word.lower() for word in words]
        kind = chance.choice(self._possible(lower, caption))
        while True:
            corrupted = self._apply(kind, words, chance)
            if len(corrupted) != len(words) or [word.lower() for word in corrupted] != lower:
                return kind, " ".join(corrupted)

    def _possible(self, lower: list[str], caption: str) -> Sequence[str]:
        """Return the kinds that can change a caption of these words."""
        if len(lower) >= 2 and lower[0] != lower[1]:  # nearly always
            return self.kinds
        differing = len(set(lower))
        least = {"remove": len(lower) >= 2, "shuffle": differing >= 2}
        possible = [kind for kind in self.kinds if least.get(kind, bool(lower))]
        if not possible:
            raise InputError(
                f"the caption {caption!r} cannot be corrupted by {', '.join(self.kinds)}: it has {len(lower)} words, "
                f"{differing} of them different; leave it out"
            )
        return possible

    def _apply(self, kind: str, words: list[str], chance: random.Random) -> list[str]:
        if kind == "shuffle":
            return chance.sample(words, len(words))
        if kind in _FROM_VOCABULARY and not words:
            raise InputError(f"a caption without words cannot be corrupted by {kind}; leave it out")
        if kind == "insert":
            return self._insert(words, chance)
        if kind == "swap":
            return self._swap(words, chance)
        start, size = self._piece(kind, words, chance)
        if kind == "remove":
            return words[:start] + words[start + size :]
        return _repeat(words, words[start : start + size], chance)

    def _piece(self, kind: str, words: list[str], chance: random.Random) -> tuple[int, int]:
        """Draw where a piece begins, and its length."""
        longest = len(words) if kind == "repeat" else len(words) - 1
        size = chance.randint(1, min(MOST, longest) if self.mended else MOST)
        if size > len(words):
            raise InputError(
                f"the caption {' '.join(words)!r} is shorter than the {size} words to {kind}; leave captions of less "
                f"than {MOST} words out or use mended=True"
            )
        return chance.randint(0, len(words) - size), size

    def _insert(self, words: list[str], chance: random.Random) -> list[str]:
        changed = list(words)
        for _ in range(chance.randint(1, MOST)):
            changed.insert(chance.randint(0, len(changed) - 1), chance.choice(self.words))
        return changed

    def _swap(self, words: list[str], chance: random.Random) -> list[str]:
        changed = list(words)
        for _ in range(chance.randint(1, MOST)):
            place = chance.randint(0, len(changed) - 1)
            word = chance.choice(self.words)
            while word.lower() == changed[place].lower():
                word = chance.choice(self.words)
            changed[place] = word
        return changed


def _repeat(words: list[str], piece: list[str], chance: random.Random) -> list[str]:
    changed = list(words)
    for _ in range(chance.randint(1, MOST)):
        slot = chance.randint(0, len(changed))
        changed[slot:slot] = piece
    return changed
