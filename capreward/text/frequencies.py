"""Document frequencies: the number of images in whose references an n-gram occurs, computed once and kept in a file."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from capreward.atomic_files import write_beside
from capreward.errors import InputError
from capreward.text.corpus import ReferenceGrams
from capreward.text.ngrams import Ints, NgramTable, Numbers

Floats = npt.NDArray[np.float64]

LAYOUT = 1  # the version of the file's layout
PICKLES = (".p", ".pkl", ".pickle")


@dataclass(frozen=True)
class DocumentFrequencies:
    """The number of images in whose references each n-gram occurs.

    Attributes:
        table: The table of the n-grams.
        counts: The number of images (or of captions, if each caption is a document), int64 [G], one entry per order.
        n_images: The number of all images (documents).
        tokenizer: The name of the tokenizer of the references.
        source: The name of the frequencies in signatures.
    """

    table: NgramTable
    counts: list[Ints]
    n_images: int
    tokenizer: str
    source: str

    @classmethod
    def of(
        cls, references: ReferenceGrams, source: str = "references", documents: Ints | None = None
    ) -> DocumentFrequencies:
        """Count over the items that have at least one reference; several references of one image count once.

        Args:
            references: The references of M items.
            source: The name of the frequencies in signatures.
            documents: The number of documents that each item stands for, [M]; None means one each.
        """
        if documents is None:
            documents = np.ones(len(references.offsets) - 1, dtype=np.int64)
        counts = []
        for postings in references.postings:
            first = np.diff(postings.key, prepend=-1) != 0  # keys are sorted, so equal ones stand side by side
            weights = documents[postings.item[first]]
            counted = np.bincount(postings.gram[first], weights=weights, minlength=postings.size)
            counts.append(counted.astype(np.int64))
        n_images = int(documents[np.diff(references.offsets) > 0].sum())
        return cls(references.table, counts, n_images, references.tokenizer.name, source)

    @cached_property
    def idf(self) -> list[Floats]:
        """The weights ln(images) - ln(max(1, df)), one array per order; the last entry is for n-grams with df 0."""
        return [idf for idf, _ in self._weights]

    @cached_property
    def squares(self) -> list[Floats]:
        """The squares of ``idf`` by Python's ``pow``, which differs from a product in one of a thousand cases."""
        return [squares for _, squares in self._weights]

    @cached_property
    def _weights(self) -> list[tuple[Floats, Floats]]:
        log_images = np.log(max(self.n_images, 1))
        weights = []
        for counted in self.counts:
            frequency = np.maximum(np.append(counted, 0), 1)
            values = np.flatnonzero(np.bincount(frequency))
            idf, squares = np.zeros((2, values[-1] + 1))
            idf[values] = log_images - np.log(values.astype(np.float64))
            squares[values] = squares_by_pow(idf[values])
            weights.append((idf[frequency], squares[frequency]))
        return weights

    def idf_of(self, order: int, gram: Numbers) -> Floats:
        """Return the weights of n-grams.

        Args:
            order: The index of the order: 0 for single words.
            gram: The numbers of the n-grams in ``table``; larger numbers are n-grams that occur in no image.
        """
        return self.idf[order][self._weight_place(order, gram)]

    def squares_of(self, order: int, gram: Numbers) -> Floats:
        """Return the squares of the weights of n-grams; the arguments are those of ``idf_of``."""
        return self.squares[order][self._weight_place(order, gram)]

    def _weight_place(self, order: int, gram: Numbers) -> Numbers:
        return np.minimum(gram, len(self.counts[order]))

    @cached_property
    def digest(self) -> str:
        """The first 8 hexadecimal digits of the SHA-256 of n-grams, counts, number of images and tokenizer."""
        sha = hashlib.sha256("\n".join(self.table.vocabulary).encode())
        for array in (*self.table.keys, *self.counts):
            sha.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
        sha.update(f"{self.n_images} {self.tokenizer}".encode())
        return sha.hexdigest()[:8]

    def save(self, path: str | Path) -> None:
        """Write the file beside its place and then rename it, so that nobody reads a half-written file."""
        path = Path(path)
        words = "\n".join(self.table.vocabulary).encode()
        arrays: dict[str, npt.NDArray[np.generic]] = {f"keys{i + 2}": k for i, k in enumerate(self.table.keys)}
        arrays |= {f"df{i + 1}": c.astype(np.int32) for i, c in enumerate(self.counts)}
        arrays["words"] = np.frombuffer(words, dtype=np.uint8)
        arrays["header"] = np.array([LAYOUT, self.n_images], dtype=np.int64)
        arrays["tokenizer"] = np.frombuffer(self.tokenizer.encode(), dtype=np.uint8)

        def write(beside: Path) -> None:
            with beside.open("wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # no array is named allow_pickle

        write_beside(path, write)

    @classmethod
    def load(cls, path: str | Path) -> DocumentFrequencies:
        """Read a file that ``save`` (or ``capreward df build``) wrote.

        Raises:
            InputError: If there is no such file, or if it is a file of another kind or layout.
        """
        wrong = f"{path} is no document-frequency file; make one with `capreward df build REFERENCES -o {path}`"
        try:
            with np.load(path, allow_pickle=False) as file:
                layout = int(file["header"][0])
                if layout != LAYOUT:
                    raise InputError(f"{path} has layout {layout}, this version reads {LAYOUT}; rebuild it")
                words = file["words"].tobytes().decode()
                n_orders = sum(name.startswith("df") for name in file.files)
                keys = tuple(file[f"keys{n}"] for n in range(2, n_orders + 1))
                counts = [file[f"df{n}"].astype(np.int64) for n in range(1, n_orders + 1)]
                n_images, tokenizer = int(file["header"][1]), file["tokenizer"].tobytes().decode()
        except FileNotFoundError as error:
            raise InputError(f"there is no document-frequency file {path}") from error
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error
        except (KeyError, ValueError, IndexError, EOFError, zipfile.BadZipFile) as error:
            if isinstance(error, InputError):
                raise
            refuse_pickle(path)
            raise InputError(wrong) from error
        vocabulary = {w: i for i, w in enumerate(words.split("\n"))} if words else {}
        return cls(NgramTable(vocabulary, keys), counts, n_images, tokenizer, Path(path).name)


def squares_by_pow(values: Floats) -> Floats:
    """Return the squares of a few numbers, [N], each by ``pow``."""
    return np.array([pow(value, 2) for value in values.tolist()], dtype=np.float64)


def refuse_pickle(path: str | Path) -> None:
    """Refuse a pickle, which is recognised by its name or by the first byte of protocols 2 and up.

    Raises:
        InputError: If the file is a pickle; the message gives the command that converts it.
    """
    path = Path(path)
    if not path.is_file():
        return
    with path.open("rb") as file:
        pickled = file.read(1) == b"\x80"
    if pickled or path.suffix in PICKLES:
        raise InputError(
            f"{path} is a pickle; convert it first: capreward df convert {path} {path.with_suffix('.npz')}"
        )


def is_frequency_file(path: str | Path) -> bool:
    """Return whether ``path`` is a file that ``save`` wrote, by its content: a zip archive with its header."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {"header.npy", "words.npy"} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
