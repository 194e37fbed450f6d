"""FineCapEval: how much of an image's background, objects and relations a caption names (Cho et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from capreward.data.finecapeval import ASPECTS, SEPARATOR, Annotation, FineCapEvalData, load_finecapeval
from capreward.data.image_ids import IdIndex
from capreward.errors import InputError
from capreward.evaluators.base import Evaluator
from capreward.samples import ITEMS, Samples

Floats = npt.NDArray[np.float64]
Words = tuple[str, ...]

MODES = ("compat", "mended")


@dataclass(frozen=True)
class ImagePhrases:
    """The phrases that people wrote about one image.

    Attributes:
        phrases: The phrases of background, object and relation as words; those of all people, with repetitions.
        words: All words of all phrases.
    """

    phrases: tuple[list[Words], ...]
    words: frozenset[str]


class FineCapEval(Evaluator):
    r"""The share of people's words on an image's background, objects and relations that a caption has.

    Mode ``compat`` computes exactly what the original computes. A field in lower case is cut into phrases at ``\;``.
    Phrases of one character are dropped; the others are tokenized (NLTK), stemmed (Porter) and freed of everything but
    ASCII letters and digits. Images are told apart by their names up to the first dot.
    A caption's value is the mean, over the phrases of all people, of the share of a phrase's words that are a
    *substring* of the caption as it stands; a phrase without words and an image without phrases count 0. So "a" is
    always found, "car" is found in "scarf", and "grassi", the stem of "grassy", never is; of an accented word the
    remaining letters are searched.

    Mode ``mended`` tokenizes and stems the caption like the phrases, and compares whole words. Each word of a phrase
    counts for itself and is found if the caption has it, however often: people repeat each other, so if a match used
    up a caption's word, the value would depend on how many people there are. Articles, pronouns, forms of be, have and
    do, and conjunctions are left out; phrases of nothing else do not count, and an image without phrases has no value.
    A fourth column, ``precision-mended``, is the share of the caption's distinct words (with the same words left out)
    that anybody named under any aspect: a caption that lists words in order to be found loses there.

    The range is [0, 1]; published numbers are the means over images times 100. A reward needs one ``aspect``.

    Args:
        data: The file FineCapEval.csv; its images match the captions' ids by name, without folder and ending.
        mode: ``compat`` (default) or ``mended``.
        aspect: The one aspect to give: ``background``, ``object`` or ``relation``; None gives all.
        function_words: Whether mode ``mended`` counts articles and similar words too.
    """

    applies_to = "captions of images that FineCapEval's file describes"
    gaps = True  # images without phrases

    def __init__(
        self,
        data: str | Path | FineCapEvalData | None = None,
        mode: str = "compat",
        aspect: str | None = None,
        function_words: bool = False,
    ) -> None:
        if mode not in MODES:
            raise InputError(f"finecapeval has the modes compat and mended; found mode={mode!r}")
        if aspect not in (None, *ASPECTS):
            raise InputError(f"finecapeval has the aspects {', '.join(ASPECTS)}; found aspect={aspect!r}")
        if function_words and mode == "compat":
            raise InputError("finecapeval counts function words in mode compat; write function_words with mode=mended")
        self.mode = mode
        self.aspect = aspect
        self.function_words = function_words or mode == "compat"
        ending = "" if mode == "compat" else "-mended"
        self.name = f"finecapeval{ending}"
        names = ASPECTS if mode == "compat" else (*ASPECTS, "precision")
        self.columns = tuple(f"{name}{ending}" for name in (names if aspect is None else [aspect]))
        self.data = load_finecapeval(data) if isinstance(data, (str, Path)) else data
        self._image_phrases: dict[str, ImagePhrases] = {}  # by image; each is made when it is first needed

    @property
    def annotations(self) -> FineCapEvalData:
        """The annotations; reading them raises InputError if none are given."""
        if self.data is None:
            raise InputError(f"{self.name} needs its annotations; write finecapeval(data=FineCapEval.csv)")
        return self.data

    def parameters(self) -> dict[str, object]:
        """Return mode, aspect, function words, and the annotations with their number of rows."""
        words = "kept" if self.function_words and self.mode == "mended" else None
        data = self.data
        rows = None if data is None else f"{Path(data.source).name}({len(data.rows)},{data.digest})"
        return {"mode": self.mode, "aspect": self.aspect, "function-words": words, "data": rows}

    def check_needs(self, samples: Samples) -> None:
        """Refuse to judge without annotations."""
        super().check_needs(samples)
        _ = self.annotations

    def check_reward(self) -> None:
        """Refuse use as a reward with several numbers per caption."""
        if self.aspect is None:
            raise InputError(
                "finecapeval as a reward needs one aspect; write finecapeval(data=...,aspect=object), or background or "
                "relation"
            )

    def prepare(self, samples: Samples) -> list[ImagePhrases | None]:
        """Return the phrases of each item; None for an item that the annotations do not describe.

        Raises:
            InputError: The name of an item could mean two images.
        """
        return [None if image is None else self._phrases_of_image(image) for image in self._annotated_images(samples)]

    def applicable(self, samples: Samples) -> npt.NDArray[np.int64] | None:
        """Return the captions of images that the annotations describe; None for all of them."""
        known = np.array([image is not None for image in self._annotated_images(samples)], dtype=bool)[samples.item]
        return None if known.all() else np.flatnonzero(known)

    def remarks(self, samples: Samples, prepared: Any) -> list[str]:
        """Return notes on skipped rows, images without exactly five rows, and images without captions."""
        data = self.annotations
        notes = data.notes()
        present = np.zeros(samples.n_items, dtype=bool)
        present[samples.item] = True
        described = sum(bool(there) and phrases is not None for there, phrases in zip(present, prepared, strict=True))
        if described < len(self._annotations_by_image):
            left = len(self._annotations_by_image) - described
            notes.append(f"{left:,} of {len(self._annotations_by_image):,} images of {data.source} have no caption")
        return notes

    def values(self, samples: Samples, prepared: Any) -> Floats:
        """Return the shares [N, C]; NaN where an image has no phrase that could be found (mode mended)."""
        judge = self._compat_shares if self.mode == "compat" else self._mended_shares
        pairs = zip(samples.captions, samples.item.tolist(), strict=True)
        table = np.array([judge(caption, prepared[item]) for caption, item in pairs]).reshape(len(samples), -1)
        return table if self.aspect is None else table[:, [ASPECTS.index(self.aspect)]]

    def _compat_shares(self, caption: str, image: ImagePhrases) -> list[float]:
        found = {word: word in caption for word in image.words}
        return [_mean_share(phrases, found) if phrases else 0.0 for phrases in image.phrases]

    def _mended_shares(self, caption: str, image: ImagePhrases) -> list[float]:
        said = set(self.annotations.stemmer.words(caption.lower(), function_words=self.function_words))
        found = {word: word in said for word in image.words}
        shares = [_mean_share(phrases, found) if phrases else np.nan for phrases in image.phrases]
        return [*shares, len(said & image.words) / len(said) if said else 0.0]

    def _annotated_images(self, samples: Samples) -> list[str | None]:
        """Return the image of each item as the annotations name it; None where they do not describe it."""

        def find() -> list[str | None]:
            dotted = (
                {}
                if self.mode == "mended"
                else {row.image: row.image.partition(".")[0] for row in self.annotations.rows}
            )
            index = IdIndex(self._annotations_by_image, dotted, self.annotations.source)
            hits = [index.find(key) for key in samples.key]
            return [None if hit is None else hit[0] for hit in hits]

        return samples.memo((ITEMS, self.name), find, given=self.data)

    @property
    def _annotations_by_image(self) -> dict[str, list[Annotation]]:
        """The annotations of each image."""
        return self.annotations.images if self.mode == "mended" else self.annotations.dotless

    def _phrases_of_image(self, image: str) -> ImagePhrases:
        if image not in self._image_phrases:
            each = [[row.aspects[n] for row in self._annotations_by_image[image]] for n in range(len(ASPECTS))]
            phrases = tuple(self._phrases(cells) for cells in each)
            words = frozenset(word for of_aspect in phrases for phrase in of_aspect for word in phrase)
            self._image_phrases[image] = ImagePhrases(phrases, words)
        return self._image_phrases[image]

    def _phrases(self, cells: Sequence[str]) -> list[Words]:
        texts = [text for cell in cells for text in cell.lower().split(SEPARATOR) if len(text) > 1]
        compat = self.mode == "compat"
        how = {"function_words": self.function_words, "ascii_only": compat}
        found = [self.annotations.stemmer.words(text, **how) for text in texts]
        return found if compat else [words for words in found if words]


def _mean_share(phrases: Sequence[Words], found: dict[str, bool]) -> float:
    """Return the mean over phrases of the share of a phrase's words that are found; without words it is 0."""
    return sum(sum(found[w] for w in words) / len(words) for words in phrases if words) / len(phrases)
