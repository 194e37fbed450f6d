"""CIDEr and CIDEr-D (Vedantam, Zitnick and Parikh 2015) as array programs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.evaluators.base import Evaluator
from capreward.samples import Samples
from capreward.text.document_frequencies import DocumentFrequencies, is_frequency_file, refuse_pickle, squares_by_pow
from capreward.text.ngram_corpus import ORDER, Pairs, ReferenceGrams, candidate_grams, reference_grams
from capreward.text.ngrams import Counts, Ints, Numbers, Words
from capreward.text.tokenizers import (
    ENDED,
    EndTokenizer,
    Tokenizer,
    name_to_type,
    same_words,
    tokenized_captions,
    tokenizer_of,
)
from capreward.text.vocabulary import IDS, WORDS, VocabularyTokenizer, WordNumbers, words_of_file

if TYPE_CHECKING:
    from capreward.data.file_report import FileReport

Floats = npt.NDArray[np.float64]

REFERENCES = "references"
IMAGE, CAPTION = "image", "caption"
FEW = 2  # the document frequencies of so few images hardly distinguish n-grams, or not at all


@dataclass(frozen=True)
class CiderReferences:
    """The references as tf-idf vectors.

    Attributes:
        grams: The references as n-grams.
        frequencies: The document frequencies that give the weights.
        idf: For each order the weight of each n-gram of the references' table, [G].
        norms: The lengths of the references' vectors, [4, R].
        lengths: The number of bigrams per reference, [R], which the length penalty compares.
        images: The number of images behind the document frequencies.
    """

    grams: ReferenceGrams
    frequencies: DocumentFrequencies
    idf: list[Floats]
    norms: Floats
    lengths: Ints
    images: int


class CiderD(Evaluator):
    """CIDEr-D: clipped tf-idf similarity of 1- to 4-grams with a length penalty, times 10; range [0, 10].

    It equals pycocoevalcap's "CIDEr" with ``df="references"``. A reward needs document frequencies that do not change
    from batch to batch: give ``df``.

    Args:
        df: The source of document frequencies: a file of ``capreward df build``, any reference file, or
            ``"references"``, the references of the call. Without it ``corpus`` takes the call's references, and use as
            a reward is refused.
        df_per: What counts as one document of ``df="references"``: ``"image"`` (default), or ``"caption"``, which is
            each judged caption with its image's references. pycocoevalcap counts by entry, so that tables of human
            judgements are per caption: Kendall's tau-c of Flickr8k-Expert, times 100, is 43.891 by its 16,992
            judgements and 43.829 by its 1,000 images. If every image has as many captions, only n-grams that no
            reference has weigh differently.
        eos: Whether each caption and each reference ends in one more word, ``<eos>``, as self-critical training on COCO
            counts it (ruotianluo's ``cider``). Without it a policy that leaves out the end of a caption ("a man with
            a") loses little. A file of document frequencies must be counted in the same way, by ``capreward df build
            --eos``. Every caption is taken to be complete, even one that was cut at the longest length.
        sigma: The width of the Gaussian length penalty, in words.
        tokenizer: The tokenizer: ``ptb`` (default), ``ptb-java``, ``none``, or a tokenizer object.
        vocabulary: A JSON file with ``ix_to_word``, in place of a tokenizer. Captions are then compared as
            CLIP-Caption-Reward does it: as ids of that vocabulary with an end token (as words, if the document
            frequencies are of words), with references cut at 16 words.
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
        df_per: str = IMAGE,
        eos: bool = False,
    ) -> None:
        if isinstance(df, (str, Path)) and is_frequency_file(df):
            df = DocumentFrequencies.load(df)
        self.tokenizer = tokenizer_of(tokenizer) if vocabulary is None else _tokenizer_of_vocabulary(vocabulary, df)
        _check_options(self.name, df, df_per, eos, vocabulary)
        if eos:
            self.tokenizer = EndTokenizer(self.tokenizer)
        self.df_per = df_per
        self.sigma = float(sigma)
        self.given = df is not None
        self.frequencies = None if df in (None, REFERENCES) else _frequencies(df, self.tokenizer, self.name)

    def parameters(self) -> dict[str, object]:
        """Return fixed document frequencies, unusual options, and the tokenizer (``ptb+eos`` with an end token)."""
        fixed = self.frequencies
        return {
            "df": None if fixed is None else f"{fixed.source}({fixed.n_images},{fixed.digest})",
            "df_per": None if self.df_per == IMAGE else self.df_per,
            "sigma": None if self.sigma == 6 else f"{self.sigma:g}",
            "tok": self.tokenizer.name,
        }

    def data_signature(self, samples: Samples, prepared: Any) -> dict[str, object]:
        """Return the number of documents that were counted, if the references are the documents."""
        fields = super().data_signature(samples, prepared)
        if self.frequencies is None:
            fields["df"] = f"{REFERENCES}({prepared.frequencies.n_images})"
        return fields

    def remarks(self, samples: Samples, prepared: Any) -> list[str]:
        """Return a note that document frequencies of one or two images weigh n-grams by 0 or not at all."""
        if prepared.images > FEW:
            return []
        few = "2 images are too few to tell which words are rare"
        if prepared.images == 1:
            few = "with 1 image every value is 0 by definition"
        return [
            f"{self.name} weighs words by how rare they are, and {few}; count a larger set with capreward df build "
            f"REFS -o df.npz, and give {self.name}(df=df.npz)"
        ]

    def check_reward(self) -> None:
        """Refuse document frequencies that change with the batch."""
        if self.df_per != IMAGE:
            raise InputError(
                f"{self.name}(df_per={self.df_per}) counts the captions that are judged, which are others in every "
                f"batch; as a reward write {self.name}(df=FILE)"
            )
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
        per = None if self.df_per == IMAGE else np.bincount(samples.item, minlength=samples.n_items)
        key = ("cider", self.tokenizer.name, self.df_per)
        return samples.memo(key, lambda: _weigh(grams, fixed, per), given=fixed)

    def values(self, samples: Samples, prepared: Any) -> Floats:
        """Return ten times the mean similarity over n-gram orders and references, [N]."""
        if not len(samples):
            return np.zeros(0)
        pairs = Pairs.of(samples.item, prepared.grams.offsets)
        # The order of the original: sum over references, mean over orders, division by references, times ten.
        sums = np.zeros((ORDER, len(samples)))
        for n, similarity in enumerate(self.by_order(samples, prepared, pairs)):
            sums[n] = np.bincount(pairs.row, similarity, minlength=len(samples))
        return np.asarray(_mean(sums) / pairs.counts * 10.0)

    def similarities(self, samples: Samples, references: CiderReferences, pairs: Pairs) -> Floats:
        """Return the similarity of each candidate with each reference of its item, as the mean over n-gram orders.

        Args:
            samples: N candidates; each item has references.
            references: The result of ``prepare``.
            pairs: The pairs of candidates and references.

        Returns:
            The similarities, float64 [P], in the range [0, 1].
        """
        return _mean(list(self.by_order(samples, references, pairs)))

    def by_order(self, samples: Samples, references: CiderReferences, pairs: Pairs) -> Iterator[Floats]:
        """Yield the similarities of one n-gram order after the other, each [P]."""
        candidates = candidate_grams(samples, references.grams)
        norms = candidate_norms(samples, references, candidates.counts)
        shift = pairs.starts - references.grams.offsets[:-1][samples.item]  # from a reference to its pair
        difference = np.maximum(candidates.words.lengths - 1, 0)[pairs.row] - references.lengths[pairs.reference]
        penalty = self._penalty(np.abs(difference)) if self.clip else 1.0
        for n, (counts, matches) in enumerate(zip(candidates.counts, candidates.matches, strict=True)):
            postings = references.grams.postings[n]
            row, idf = counts.row[matches.entry], references.idf[n][counts.gram[matches.entry]]
            mine, theirs = counts.count[matches.entry] * idf, postings.count[matches.posting] * idf
            product = (np.minimum(mine, theirs) if self.clip else mine) * theirs
            dot = np.bincount(postings.reference[matches.posting] + shift[row], product, minlength=len(pairs.row))
            length = norms[n][pairs.row] * references.norms[n][pairs.reference]
            yield np.divide(dot, length, out=np.zeros(len(pairs.row)), where=length != 0) * penalty

    def _penalty(self, difference: Ints) -> Floats:
        """Return the Gaussian of differences of length [P], as the power of e that the original computes."""
        values = np.flatnonzero(np.bincount(difference))
        table = np.zeros(int(values.max(initial=0)) + 1)
        table[values] = [math.e ** (-(float(value) ** 2) / (2 * self.sigma**2)) for value in values.tolist()]
        return table[difference]


class Cider(CiderD):
    """CIDEr under the name in papers: pycocoevalcap's "CIDEr" is CIDEr-D, and so is this class."""

    name = "cider"


class CiderPlain(CiderD):
    """CIDEr as the paper first defines it: no clipping, no length penalty, times 10 (vrama91/cider's ``cider``)."""

    name = "cider-plain"
    clip = False


def candidate_norms(samples: Samples, references: CiderReferences, counts: list[Counts]) -> Floats:
    """Return the lengths of the candidates' tf-idf vectors, [4, N], counted with the document frequencies' numbers."""
    frequencies = references.frequencies
    if frequencies.table is not references.grams.table:
        words = frequencies.table.encode(tokenized_captions(samples, references.grams.tokenizer))
        counts = frequencies.table.counts(words)
    sums = []
    for n, c in enumerate(counts):
        squares = squares_of_counts(c.count, frequencies.idf_of(n, c.gram), frequencies.squares_of(n, c.gram))
        sums.append(np.bincount(c.row, weights=squares, minlength=len(samples)))
    return np.sqrt(np.stack(sums))


def _mean(values: Sequence[Floats] | Floats) -> Floats:
    """Return the mean of arrays, added from the first to the last."""
    total = np.zeros_like(values[0])
    for value in values:
        total += value
    return total / len(values)


def squares_of_counts(count: Numbers, weight: Floats, square: Floats) -> Floats:
    """Return the squares of count times weight, [E]; ``square`` holds the squares of weights and is overwritten."""
    several = count > 1
    square[several] = squares_by_pow(count[several] * weight[several])
    return square


def _weigh(grams: ReferenceGrams, fixed: DocumentFrequencies | None, documents: Ints | None) -> CiderReferences:
    frequencies = fixed or DocumentFrequencies.of(grams, documents=documents)
    idf, squares = _table_weights(grams, frequencies)
    norms = []
    for n, (weights, squared_weights, postings) in enumerate(zip(idf, squares, grams.postings, strict=True)):
        gram = postings.gram
        each = squares_of_counts(postings.count, weights[gram], squared_weights[gram])
        # The sums run in the order of a reference's n-grams: every occurrence has its own slot.
        lengths = np.maximum(grams.words.lengths - n, 0)
        slots = np.zeros(int(lengths.sum()))
        slots[(np.cumsum(lengths) - lengths)[postings.reference] + postings.first] = each
        owner = np.repeat(np.arange(len(grams.words)), lengths)
        norms.append(np.sqrt(np.bincount(owner, weights=slots, minlength=len(grams.words))))
    known = np.diff(grams.offsets) > 0
    images = int((known if documents is None else known & (documents > 0)).sum()) if fixed is None else fixed.n_images
    lengths = np.maximum(grams.words.lengths - 1, 0)
    return CiderReferences(grams, frequencies, idf, np.stack(norms), lengths, images)


def _table_weights(grams: ReferenceGrams, frequencies: DocumentFrequencies) -> tuple[list[Floats], list[Floats]]:
    """Return the idf weight of each n-gram of the references' table and its square, per order."""
    if frequencies.table is grams.table:
        return [idf[:-1] for idf in frequencies.idf], [squares[:-1] for squares in frequencies.squares]
    known = frequencies.table.vocabulary
    unknown = len(known)  # one number is enough for all unknown words: their n-grams occur in no image
    number = np.array([known.get(word, unknown) for word in grams.table.vocabulary], dtype=np.int32)
    theirs = frequencies.table.grams(Words(number[grams.words.ids], grams.words.offsets))
    weights, squares = [], []
    for n, (mine, other) in enumerate(zip(grams.table.grams(grams.words), theirs, strict=True)):
        idf, square = np.zeros((2, mine.size))
        idf[mine.gram] = frequencies.idf_of(n, other.gram)
        square[mine.gram] = frequencies.squares_of(n, other.gram)
        weights.append(idf)
        squares.append(square)
    return weights, squares


def _check_options(name: str, df: Any, df_per: str, eos: bool, vocabulary: Any) -> None:
    if df_per not in (IMAGE, CAPTION):
        raise InputError(f"{name}: df_per is image or caption, found {df_per!r}")
    if df_per == CAPTION and df not in (None, REFERENCES):
        raise InputError(
            f"{name}: df_per={CAPTION} counts the references of the call, and df names other frequencies; leave one out"
        )
    if not isinstance(eos, bool):
        raise InputError(f"{name}: eos is true or false, found {eos!r}")
    if eos and vocabulary is not None:
        raise InputError(f"{name}: captions end in an end token with vocabulary=FILE already; leave eos out")


def _frequencies(df: str | Path | DocumentFrequencies | None, tokenizer: Tokenizer, name: str) -> DocumentFrequencies:
    if isinstance(df, DocumentFrequencies):
        found = df
    elif isinstance(df, (str, Path)):
        refuse_pickle(df)
        found = frequencies_of_files([df], tokenizer, source=Path(df).name)
    else:
        raise InputError(f"{name}: df must be a path or 'references', found {df!r}")
    if not same_words(found.tokenizer, tokenizer.name):
        ended = found.tokenizer.endswith(ENDED)
        if same_words(found.tokenizer.removesuffix(ENDED), tokenizer.name.removesuffix(ENDED)):
            counted = "with an end token in every caption" if ended else "without end tokens"
            write = f"{name}(df=...,eos=true)" if ended else f"{name}(df=...)"
            again = "without --eos" if ended else "with --eos"
            raise InputError(
                f"{name}: the document frequencies {found.source} were counted {counted}; write {write}, or count them "
                f"{again} by `capreward df build`"
            )
        if found.tokenizer.partition("-")[0] in (IDS, WORDS):
            other = "another vocabulary's" if isinstance(tokenizer, VocabularyTokenizer) else "a vocabulary's"
            raise InputError(
                f"{name}: the document frequencies {found.source} are of {other} words ({found.tokenizer}); write "
                f"{name}(df=...,vocabulary=FILE) with the file that they were built with"
            )
        raise InputError(
            f"{name} tokenizes with {tokenizer.name}, its document frequencies {found.source} were counted with "
            f"{found.tokenizer}; write {name}(tokenizer={name_to_type(found.tokenizer)},df=...)"
        )
    return found


def _tokenizer_of_vocabulary(path: str | Path, df: Any) -> Tokenizer:
    """Return a tokenizer to ids of a vocabulary, or to its words if document frequencies are counted over words."""
    of_words = isinstance(df, DocumentFrequencies) and df.tokenizer.partition("-")[0] == WORDS
    return VocabularyTokenizer(WordNumbers(words_of_file(path)), WORDS if of_words else IDS)


def frequencies_of_files(
    paths: Sequence[str | Path],
    tokenizer: str | Tokenizer,
    *,
    source: str,
    eos: bool = False,
    reports: list[FileReport] | None = None,
    **options: Any,
) -> DocumentFrequencies:
    """Count document frequencies over reference files.

    Args:
        paths: The reference files.
        tokenizer: The tokenizer, as for the evaluators.
        source: The name of the document frequencies in signatures.
        eos: Whether every reference ends in the end token, for ``cider-d(eos=true)``.
        reports: A list that gets a report on how each file was read.
        options: Options of ``capreward.data.read_references``.
    """
    if isinstance(tokenizer, VocabularyTokenizer):
        if eos:
            raise InputError("frequencies over a vocabulary have end tokens already; leave --eos (eos=True) out")
        from capreward.text.pickled_frequencies import frequencies_of_vocabulary

        return frequencies_of_vocabulary(paths, tokenizer, source=source, **options)
    from capreward.data import read_references

    read = read_references(paths, flags="--{name}", **options)
    if reports is not None:
        reports += read.reports
    samples = Samples([], references=list(read.references.values()), item=[])
    found = tokenizer_of(tokenizer)
    return DocumentFrequencies.of(reference_grams(samples, EndTokenizer(found) if eos else found), source=source)
