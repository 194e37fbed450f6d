"""METEOR's engine: it turns batches of PTB-tokenised captions into the 23 statistics with each one's best reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.text.meteor.alignment import align, statistics
from capreward.text.meteor.index_build import Progress
from capreward.text.meteor.normaliser import NonBreaking, normalize
from capreward.text.meteor.phrases import PhraseTable
from capreward.text.meteor.resources import Sources, index_path, installed_sources, load_index
from capreward.text.meteor.score_formula import STATISTICS, Floats, score_from_statistics
from capreward.text.meteor.sentence import Candidate, Sentence, make_match
from capreward.text.meteor.words import WordTable

_SEPARATOR = "|||"


@dataclass(frozen=True, slots=True)
class PreparedReferences:
    """References whose words and phrases are looked up once, for many candidates; they can be pickled.

    :meth:`MeteorEngine.prepare_references` makes them.

    Attributes:
        index: The name of the index in which the words and phrases were looked up.
        sentences: The distinct references.
        items: The numbers of each item's references in ``sentences``.
        nodes: The distinct nodes of all references in the paraphrase table, sorted.
    """

    index: str
    sentences: tuple[Sentence, ...]
    items: tuple[tuple[int, ...], ...]
    nodes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.items)


@dataclass(frozen=True, slots=True)
class _Tables:
    name: str
    prefixes: NonBreaking
    words: WordTable
    phrases: PhraseTable

    def sentences(self, texts: Sequence[str]) -> list[Sentence]:
        """Normalise texts, and look their words and phrases up."""
        words = self.words.words([normalize(text, self.prefixes) for text in texts])
        phrases = self.phrases.find([[word.table for word in sentence] for sentence in words])
        return list(map(Sentence.of, words, phrases))


class MeteorEngine:
    """METEOR 1.5 for English (task "rank", ``-norm``), equal to ``meteor-1.5.jar`` as pycocoevalcap runs it.

    The data files are read from the installed pycocoevalcap. Their index is built on first use (about ten seconds) and
    kept in the user's cache folder. Nothing is loaded before it is needed, and a pickled engine holds no data.

    Args:
        sources: The data files; None takes those of the installed pycocoevalcap.
        cache: The folder of the index; None takes :func:`capreward.atomic_files.cache_folder`.
        progress: A function that is called with (bytes read, bytes in all) while the index is built.

    References:
        Denkowski and Lavie, "Meteor Universal: Language Specific Translation Evaluation for Any Target Language",
        WMT 2014.
    """

    def __init__(
        self, sources: Sources | None = None, cache: Path | None = None, progress: Progress | None = None
    ) -> None:
        self._sources, self._cache, self._progress = sources, cache, progress

    def __getstate__(self) -> dict[str, object]:
        return {"_sources": self._sources, "_cache": self._cache, "_progress": None}

    @cached_property
    def _tables(self) -> _Tables:
        sources = self._sources or installed_sources()
        arrays = load_index(sources, self._cache, self._progress)
        prefixes = NonBreaking.parse(arrays["prefixes"].tobytes().decode())
        return _Tables(index_path(sources, self._cache).stem, prefixes, WordTable(arrays), PhraseTable(arrays))

    def prepare_references(self, references: Sequence[Sequence[str]]) -> PreparedReferences:
        """Normalise references, and look their words and phrases up.

        Args:
            references: The PTB-tokenised references of each item, at least one.

        Raises:
            InputError: If an item has no reference, or if METEOR's data files are missing.
        """
        numbers: dict[str, int] = {}
        items: list[tuple[int, ...]] = []
        for position, texts in enumerate(references):
            if isinstance(texts, str):
                raise InputError(f"METEOR needs a list of references per item; item {position} is a single string.")
            if not len(texts):
                raise InputError(f"METEOR needs at least one reference per caption; item {position} has none.")
            # The original's protocol separates references by bars, so a reference with bars in it becomes two.
            pieces = chain.from_iterable(text.split(_SEPARATOR) for text in texts)
            items.append(tuple([numbers.setdefault(piece, len(numbers)) for piece in pieces]))
        tables = self._tables
        sentences = tuple(tables.sentences(list(numbers)))
        return PreparedReferences(tables.name, sentences, tuple(items), _distinct_nodes(sentences))

    def statistics(
        self,
        candidates: Sequence[str],
        references: Sequence[Sequence[str]] | PreparedReferences,
        items: Sequence[int] | None = None,
    ) -> Floats:
        """Return the statistics of each candidate with the reference that scores highest, the first of equal ones.

        Args:
            candidates: The N PTB-tokenised captions.
            references: The references of each item, as texts or prepared.
            items: The item of each candidate; None means that candidate i has item i.

        Returns:
            The counts, [N, 23], for :func:`~capreward.text.meteor.score_formula.score_from_statistics` and
            :func:`~capreward.text.meteor.score_formula.summable`.

        Raises:
            InputError: If the lengths or the items do not fit, if an item has no reference, or if the references were
                prepared with other data.
        """
        if not isinstance(references, PreparedReferences):
            references = self.prepare_references(references)
        if references.index != self._tables.name:
            raise InputError(
                "These METEOR references were prepared with another version of the data; prepare them again."
            )
        items = range(len(references)) if items is None else items
        if len(items) != len(candidates):
            raise InputError(
                f"METEOR got {len(candidates)} captions for {len(items)} items; give one item per caption."
            )
        if unknown := [item for item in items if not 0 <= item < len(references)]:
            raise InputError(f"METEOR got a caption for item {unknown[0]}, but references for {len(references)} items.")
        if not len(candidates):
            return np.zeros((0, STATISTICS))
        return self._best_statistics(candidates, references, items)

    def _best_statistics(self, candidates: Sequence[str], prepared: PreparedReferences, items: Sequence[int]) -> Floats:
        numbers: dict[str, int] = {}
        texts = [text.replace(_SEPARATOR, "").replace("  ", " ") for text in candidates]
        ours = [numbers.setdefault(text, len(numbers)) for text in texts]
        sentences = self._tables.sentences(list(numbers))
        relations = self._tables.phrases.relations(prepared.nodes, _distinct_nodes(sentences))
        # Captions repeat, most of all among samples of one image, so each distinct pair is aligned only once.
        wanted: dict[int, dict[int, int]] = {}
        for candidate, item in zip(ours, items, strict=True):
            wanted.setdefault(candidate, {}).update(dict.fromkeys(prepared.items[item], -1))
        make = lru_cache(maxsize=4096)(make_match)
        rows: list[list[int]] = []
        for candidate, places in wanted.items():
            mine = Candidate(sentences[candidate], relations, make)
            for reference in places:
                places[reference] = len(rows)
                theirs = prepared.sentences[reference]
                rows.append(statistics(mine.sentence, theirs, align(mine, theirs)))
        counts = np.array(rows, dtype=np.float64)
        scores = score_from_statistics(counts).tolist()
        winners = [
            max([wanted[candidate][reference] for reference in prepared.items[item]], key=scores.__getitem__)
            for candidate, item in zip(ours, items, strict=True)
        ]
        return counts[winners]


def _distinct_nodes(sentences: Sequence[Sentence]) -> npt.NDArray[np.int64]:
    return np.unique(np.array([node for sentence in sentences for node in sentence.nodes], dtype=np.int64))
