"""METEOR over batches: from PTB-tokenised captions to the 23 statistics of each caption's best reference."""

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
    """References looked up once, for many candidates. Picklable; made by :meth:`MeteorEngine.prepare_references`.

    Attributes:
        index: name of the index the look-ups were made in.
        sentences: the distinct references.
        items: per item, the numbers of its references in ``sentences``.
        nodes: sorted distinct paraphrase table nodes of all references.
    """

    index: str
    sentences: tuple[Sentence, ...]
    items: tuple[tuple[int, ...], ...]
    nodes: npt.NDArray[np.int64]

    def __len__(self) -> int:
        """Number of items."""
        return len(self.items)


@dataclass(frozen=True, slots=True)
class _Tables:
    name: str
    prefixes: NonBreaking
    words: WordTable
    phrases: PhraseTable

    def sentences(self, texts: Sequence[str]) -> list[Sentence]:
        """Normalise texts and look their words and phrases up."""
        words = self.words.words([normalize(text, self.prefixes) for text in texts])
        phrases = self.phrases.find([[word.table for word in sentence] for sentence in words])
        return list(map(Sentence.of, words, phrases))


class MeteorEngine:
    """METEOR 1.5 for English (task "rank", ``-norm``), equal to ``meteor-1.5.jar`` as pycocoevalcap drives it.

    The data files are read out of the installed pycocoevalcap; the index built from them on first use (about ten
    seconds) is kept in the user's cache folder. Nothing is loaded before it is needed, and a pickled engine holds none
    of it.

    Args:
        sources: the data files; by default those of the installed pycocoevalcap.
        cache: the folder the index is kept in; see :func:`capreward.atomic_files.cache_folder`.
        progress: told (bytes read, bytes in all) while the index is built.

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
        """Normalise references and look their words and phrases up.

        Args:
            references: per item, its PTB-tokenised references, at least one each.

        Raises:
            InputError: an item has no reference, or METEOR's data files are missing.
        """
        numbers: dict[str, int] = {}
        items: list[tuple[int, ...]] = []
        for position, texts in enumerate(references):
            if isinstance(texts, str):
                raise InputError(f"METEOR needs a list of references per item; item {position} is a single string.")
            if not len(texts):
                raise InputError(f"METEOR needs at least one reference per caption; item {position} has none.")
            # The original's protocol separates references by bars, so bars inside one make two of it.
            pieces = chain.from_iterable(text.split(_SEPARATOR) for text in texts)
            items.append(tuple([numbers.setdefault(piece, len(numbers)) for piece in pieces]))
        tables = self._tables
        sentences = tuple(tables.sentences(list(numbers)))
        return PreparedReferences(tables.name, sentences, tuple(items), _nodes(sentences))

    def statistics(
        self,
        candidates: Sequence[str],
        references: Sequence[Sequence[str]] | PreparedReferences,
        items: Sequence[int] | None = None,
    ) -> Floats:
        """The statistics of each candidate against the reference that scores highest, the first of equals.

        Args:
            candidates: N PTB-tokenised captions.
            references: per item, its references, or the same prepared.
            items: per candidate, the item whose references it is judged by; by default candidate i has item i.

        Returns:
            [N, 23] counts for :func:`~capreward.text.meteor.score_formula.score_from_statistics` and
            :func:`~capreward.text.meteor.score_formula.summable`.

        Raises:
            InputError: the lengths or items do not fit, an item has no reference, or the references were prepared with
                other data.
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
        return self._best(candidates, references, items)

    def _best(self, candidates: Sequence[str], prepared: PreparedReferences, items: Sequence[int]) -> Floats:
        numbers: dict[str, int] = {}
        texts = [text.replace(_SEPARATOR, "").replace("  ", " ") for text in candidates]
        ours = [numbers.setdefault(text, len(numbers)) for text in texts]
        sentences = self._tables.sentences(list(numbers))
        relations = self._tables.phrases.relations(prepared.nodes, _nodes(sentences))
        # Captions repeat, in samples of one image above all: each distinct pair is aligned once.
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


def _nodes(sentences: Sequence[Sentence]) -> npt.NDArray[np.int64]:
    return np.unique(np.array([node for sentence in sentences for node in sentence.nodes], dtype=np.int64))
