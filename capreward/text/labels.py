"""Captions as rows of word ids: the arrays that CLIP-Caption-Reward keeps in cocotalk_label.h5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capreward.atomic_files import write_beside
from capreward.errors import InputError
from capreward.text.vocabulary import LABEL, WordNumbers

Numbers = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Labels:
    """The word ids of M captions of N images.

    Attributes:
        labels: The word ids, uint32 [M, L]; ids count from 1, and zeros follow the last word.
        start: The first caption of each image, uint32 [N], counted from 1.
        end: The last caption of each image, uint32 [N], counted from 1.
        length: The number of words of each caption, uint32 [M], at most L.
        keys: The ids of the images, [N].
    """

    labels: Numbers
    start: Numbers
    end: Numbers
    length: Numbers
    keys: list[str]

    @classmethod
    def of(
        cls,
        keys: Sequence[str],
        sentences: Sequence[Sequence[Sequence[str]]],
        vocabulary: WordNumbers,
        longest: int = LABEL,
    ) -> Labels:
        """Number the words of each image's captions.

        Args:
            keys: The ids of the N images.
            sentences: The captions of each image, at least one, each as a list of words.
            vocabulary: The vocabulary.
            longest: The length L of the rows, at which longer captions are cut.

        Raises:
            InputError: If an image has no captions, or if the vocabulary has neither a word nor ``UNK``.
        """
        counts = np.array([len(each) for each in sentences], dtype=np.uint32)
        if (counts == 0).any():
            raise InputError(f"image {keys[int(np.argmin(counts))]} has no captions; leave it out")
        end = np.cumsum(counts, dtype=np.uint32)
        rows = [vocabulary.ids(words[:longest]) for each in sentences for words in each]
        labels = np.zeros((len(rows), longest), dtype=np.uint32)
        for row, ids in enumerate(rows):
            labels[row, : len(ids)] = ids
        length = np.array([len(ids) for ids in rows], dtype=np.uint32)
        return cls(labels, end - counts + np.uint32(1), end, length, list(keys))

    def save(self, path: Path) -> None:
        """Write an ``.npz`` with the arrays under the names of the published file, and the keys as ``ids``."""
        arrays = {
            "labels": self.labels,
            "label_start_ix": self.start,
            "label_end_ix": self.end,
            "label_length": self.length,
            "ids": np.array(self.keys),
        }

        def write(beside: Path) -> None:
            with beside.open("wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle

        write_beside(path, write)
