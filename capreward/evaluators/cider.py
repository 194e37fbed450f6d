"""CIDEr and CIDEr-D (Vedantam, Zitnick and Parikh 2015) as array programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.evaluators.base import Evaluator
from capreward.samples import Samples
from capreward.text.corpus import ORDER, Pairs, ReferenceGrams, candidate_grams, reference_grams
from capreward.text.frequencies import DocumentFrequencies, is_frequency_file
from capreward.text.ngrams import Counts, Ints, Words
from capreward.text.tokenizers import Tokenizer, same_words, tokenized_captions, tokenizer_of
from capreward.text.vocabulary import IDS, WORDS, VocabularyTokenizer, WordNumbers, words_of_file

if TYPE_CHECKING:
    from capreward.data.file_report import FileReport

Floats = npt.NDArray[np.float64]

REFERENCES = "references"


@dataclass(frozen=True)
class CiderReferences:
    """References as tf-idf vectors.

    Attributes:
        grams: the references as n-grams.
        frequencies: what the weights come from.
        idf: per order the weight of each n-gram of the references' table, [G].
        norms: [4, R] lengths of the references' vectors.
        lengths: [R] bigrams per reference, what the length penalty compares.
    """

    grams: ReferenceGrams
    frequencies: DocumentFrequencies
    idf: list[Floats]
    norms: Floats
    lengths: Ints


class CiderD(Evaluator):
    """CIDEr-D: clipped tf-idf similarity of 1- to 4-grams with a length penalty, times 10; range [0, 10].

    Equal to pycocoevalcap's "CIDEr" with ``df="references"``. A reward needs document frequencies that do not change
    from batch to batch: give ``df``.

    Args:
        df: where document frequencies come from: a file of ``capreward df build``, any reference file, or
            ``"references"``, the references of the call. Without it ``corpus`` takes the call's references and the
            use as a reward is refused.
        sigma: width of the Gaussian length penalty, in words.
        tokenizer: ``ptb``, ``ptb-java``, ``none`` or a tokenizer.
        vocabulary: a JSON file with ``ix_to_word``, in place of a tokenizer: captions are compared as
            CLIP-Caption-Reward does, as ids of that vocabulary with an end token (as words, if the document frequencies
            are of words), references cut at 16 words.
    """

    name = "cider-d"
    needs = frozenset({"references"})
    clip = True

    def __init__(
        self,
        df: str | Path | DocumentFrequencies | None = None,
        sigma: float = 6.0,
        tokenizer: str | Tokenizer = "ptb",
        vocabulary: str | Path | None = None,
    ) -> None:
        if isinstance(df, (str, Path)) and is_frequency_file(df):
            df = DocumentFrequencies.load(df)
        self.tokenizer = tokenizer_of(tokenizer) if vocabulary is None else _tokenizer_of_vocabulary(vocabulary, df)
        self.sigma = float(sigma)
        self.given = df is not None
        self.frequencies = None if df in (None, REFERENCES) else _frequencies(df, self.tokenizer, self.name)

    def parameters(self) -> dict[str, object]:
        """Fixed document frequencies, sigma where it is not the usual one, tokenizer."""
        fixed = self.frequencies
        df = None if fixed is None else f"{fixed.source}({fixed.n_images},{fixed.digest})"
        return {"df": df, "sigma": None if self.sigma == 6 else f"{self.sigma:g}", "tok": self.tokenizer.name}

    def data_signature(self, samples: Samples, prepared: Any) -> dict[str, object]:
        """The number of images that document frequencies were counted over, where they are the references'."""
        fields = super().data_signature(samples, prepared)
        if self.frequencies is None:
            fields["df"] = f"{REFERENCES}({prepared.frequencies.n_images})"
        return fields

    def check_reward(self) -> None:
        """Refuse document frequencies that change with the batch."""
        if not self.given:
            raise InputError(
                f"{self.name} as a reward needs fixed document frequencies: counted on each batch, the same caption "
                f"gets another value in every batch and 0 alone; write {self.name}(df=FILE) with a file of "
                f"`capreward df build REFERENCES -o FILE`, or {self.name}(df=references) if that is what you want"
            )

    def prepare(self, samples: Samples) -> CiderReferences:
        """Weigh the references' n-grams."""
        grams = reference_grams(samples, self.tokenizer)
        fixed = self.frequencies
        return samples.memo(("cider", self.tokenizer.name), lambda: _weigh(grams, fixed), given=fixed)

    def values(self, samples: Samples, prepared: Any) -> Floats:
        """Ten times the mean similarity over n-gram orders and references, [N]."""
        if not len(samples):
            return np.zeros(0)
        pairs = Pairs.of(samples.item, prepared.grams.offsets)
        similarity = self.similarities(samples, prepared, pairs)
        return np.asarray(np.add.reduceat(similarity, pairs.starts) / pairs.counts * 10.0)

    def similarities(self, samples: Samples, references: CiderReferences, pairs: Pairs) -> Floats:
        """The similarity of each candidate with each reference of its item, mean over n-gram orders.

        Args:
            samples: N candidates, each of an item with references.
            references: as ``prepare`` gave them.
            pairs: candidates with references.

        Returns:
            float64 [P], range [0, 1].
        """
        candidates = candidate_grams(samples, references.grams)
        norms = candidate_norms(samples, references, candidates.counts)
        shift = pairs.starts - references.grams.offsets[:-1][samples.item]  # from a reference to its pair
        similarity = np.zeros(len(pairs.row))
        for n, (counts, matches) in enumerate(zip(candidates.counts, candidates.matches, strict=True)):
            postings = references.grams.postings[n]
            row, idf = counts.row[matches.entry], references.idf[n][counts.gram[matches.entry]]
            mine, theirs = counts.count[matches.entry] * idf, postings.count[matches.posting] * idf
            product = (np.minimum(mine, theirs) if self.clip else mine) * theirs
            dot = np.bincount(postings.reference[matches.posting] + shift[row], product, minlength=len(similarity))
            length = norms[n][pairs.row] * references.norms[n][pairs.reference]
            similarity += np.divide(dot, length, out=np.zeros_like(similarity), where=length != 0)
        if self.clip:
            difference = np.maximum(candidates.words.lengths - 1, 0)[pairs.row] - references.lengths[pairs.reference]
            similarity *= np.exp(-(difference.astype(np.float64) ** 2) / (2 * self.sigma**2))
        return similarity / ORDER


class Cider(CiderD):
    """CIDEr under the name that papers use; pycocoevalcap's "CIDEr" is CIDEr-D, and so is this."""

    name = "cider"


class CiderPlain(CiderD):
    """CIDEr as the paper first defines it: no clipping, no length penalty, times 10 (vrama91/cider's ``cider``)."""

    name = "cider-plain"
    clip = False


def candidate_norms(samples: Samples, references: CiderReferences, counts: list[Counts]) -> Floats:
    """Lengths of the candidates' tf-idf vectors, [4, N]; counted in the numbering of the document frequencies."""
    frequencies = references.frequencies
    if frequencies.table is not references.grams.table:
        words = frequencies.table.encode(tokenized_captions(samples, references.grams.tokenizer))
        counts = frequencies.table.counts(words)
    return _norms(counts, [frequencies.idf_of(n, c.gram) for n, c in enumerate(counts)], len(samples))


def _norms(counts: list[Counts], idf: list[Floats], n_rows: int) -> Floats:
    squares = [(c.count * w) ** 2 for c, w in zip(counts, idf, strict=True)]
    sums = [np.bincount(c.row, weights=s, minlength=n_rows) for c, s in zip(counts, squares, strict=True)]
    return np.sqrt(np.stack(sums))


def _weigh(grams: ReferenceGrams, fixed: DocumentFrequencies | None) -> CiderReferences:
    frequencies = fixed or DocumentFrequencies.of(grams)
    idf = _table_weights(grams, frequencies)
    norms = []
    for weights, postings in zip(idf, grams.postings, strict=True):
        squares = (postings.count * weights[postings.gram]) ** 2
        norms.append(np.sqrt(np.bincount(postings.reference, weights=squares, minlength=len(grams.words))))
    return CiderReferences(grams, frequencies, idf, np.stack(norms), np.maximum(grams.words.lengths - 1, 0))


def _table_weights(grams: ReferenceGrams, frequencies: DocumentFrequencies) -> list[Floats]:
    """The idf weight of each n-gram of the references' table, per order."""
    if frequencies.table is grams.table:
        return [idf[:-1] for idf in frequencies.idf]
    known = frequencies.table.vocabulary
    unknown = len(known)  # one number for all unknown words will do: their n-grams occur in no image
    number = np.array([known.get(word, unknown) for word in grams.table.vocabulary], dtype=np.int32)
    theirs = frequencies.table.grams(Words(number[grams.words.ids], grams.words.offsets))
    weights = []
    for n, (mine, other) in enumerate(zip(grams.table.grams(grams.words), theirs, strict=True)):
        idf = np.zeros(mine.size)
        idf[mine.gram] = frequencies.idf_of(n, other.gram)
        weights.append(idf)
    return weights


def _frequencies(df: str | Path | DocumentFrequencies | None, tokenizer: Tokenizer, name: str) -> DocumentFrequencies:
    if isinstance(df, DocumentFrequencies):
        found = df
    elif isinstance(df, (str, Path)):
        found = frequencies_of_files([df], tokenizer, source=Path(df).name)
    else:
        raise InputError(f"{name}: df must be a path or 'references', found {df!r}")
    if not same_words(found.tokenizer, tokenizer.name):
        if found.tokenizer.partition("-")[0] in (IDS, WORDS):
            other = "another vocabulary's" if isinstance(tokenizer, VocabularyTokenizer) else "a vocabulary's"
            raise InputError(
                f"{name}: the document frequencies {found.source} are of {other} words ({found.tokenizer}); write "
                f"{name}(df=...,vocabulary=FILE) with the file that they were built with"
            )
        raise InputError(
            f"{name} tokenizes with {tokenizer.name}, its document frequencies {found.source} were counted with "
            f"{found.tokenizer}; write {name}(tokenizer={found.tokenizer},df=...)"
        )
    return found


def _tokenizer_of_vocabulary(path: str | Path, df: Any) -> Tokenizer:
    """Captions as ids of a vocabulary, or as its words where document frequencies were counted over words."""
    of_words = isinstance(df, DocumentFrequencies) and df.tokenizer.partition("-")[0] == WORDS
    return VocabularyTokenizer(WordNumbers(words_of_file(path)), WORDS if of_words else IDS)


def frequencies_of_files(
    paths: Sequence[str | Path],
    tokenizer: str | Tokenizer,
    *,
    source: str,
    reports: list[FileReport] | None = None,
    **options: Any,
) -> DocumentFrequencies:
    """Count document frequencies over reference files.

    Args:
        paths: the files.
        tokenizer: as for the evaluators.
        source: the name that signatures give them.
        reports: a list that gets what each file was read as.
        options: as for ``capreward.data.read_references``.
    """
    if isinstance(tokenizer, VocabularyTokenizer):
        from capreward.text.frequencies_legacy import frequencies_of_vocabulary

        return frequencies_of_vocabulary(paths, tokenizer, source=source, **options)
    from capreward.data import read_references

    read = read_references(paths, **options)
    if reports is not None:
        reports += read.reports
    samples = Samples([], references=list(read.references.values()), item=[])
    return DocumentFrequencies.of(reference_grams(samples, tokenizer_of(tokenizer)), source=source)
