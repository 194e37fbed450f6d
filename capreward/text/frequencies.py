"""Document frequencies: in how many images' references each n-gram occurs; computed once, kept in a file."""

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

LAYOUT = 1  # of the file
PICKLES = (".p", ".pkl", ".pickle")


@dataclass(frozen=True)
class DocumentFrequencies:
    """How many images' references contain each n-gram.

    Attributes:
        table: the n-grams.
        counts: per order int64 [G], the number of images (of documents, where these are captions).
        n_images: the number of images (documents) counted over.
        tokenizer: the name of the tokenizer the references went through.
        source: a name for signatures.
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
        """Count over items with at least one reference; several references of one image count once.

        Args:
            references: of M items.
            source: the name that signatures give them.
            documents: for how many documents each item stands, [M]; by default for one.
        """
        if documents is None:
            documents = np.ones(len(references.offsets) - 1, dtype=np.int64)
        counts = []
        for postings in references.postings:
            first = np.diff(postings.key, prepend=-1) != 0  # sorted: an n-gram of an item starts a run
            weights = documents[postings.item[first]]
            counted = np.bincount(postings.gram[first], weights=weights, minlength=postings.size)
            counts.append(counted.astype(np.int64))
        n_images = int(documents[np.diff(references.offsets) > 0].sum())
        return cls(references.table, counts, n_images, references.tokenizer.name, source)

    @cached_property
    def idf(self) -> list[Floats]:
        """Per order ln(images) - ln(max(1, df)), with one more entry at the end for n-grams that occur in none."""
        return [idf for idf, _ in self._weights]

    @cached_property
    def squares(self) -> list[Floats]:
        """The squares of ``idf``, as Python's ``pow`` has them: it differs from a product in one of a thousand."""
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
            squares[values] = squared(idf[values])
            weights.append((idf[frequency], squares[frequency]))
        return weights

    def idf_of(self, order: int, gram: Numbers) -> Floats:
        """The weights of n-grams numbered by ``table``; numbers beyond it are n-grams that occur in none."""
        return self.idf[order][self._place(order, gram)]

    def squares_of(self, order: int, gram: Numbers) -> Floats:
        """The squares of these weights."""
        return self.squares[order][self._place(order, gram)]

    def _place(self, order: int, gram: Numbers) -> Numbers:
        return np.minimum(gram, len(self.counts[order]))

    @cached_property
    def digest(self) -> str:
        """First 8 hex digits of the SHA-256 of all that is counted."""
        sha = hashlib.sha256("\n".join(self.table.vocabulary).encode())
        for array in (*self.table.keys, *self.counts):
            sha.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
        sha.update(f"{self.n_images} {self.tokenizer}".encode())
        return sha.hexdigest()[:8]

    def save(self, path: str | Path) -> None:
        """Write the file beside its place, then rename it, so that no half-written file is ever seen."""
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
            InputError: no such file, or not of that kind.
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


def squared(values: Floats) -> Floats:
    """The squares of a few numbers, [N], each by ``pow``."""
    return np.array([pow(value, 2) for value in values.tolist()], dtype=np.float64)


def refuse_pickle(path: str | Path) -> None:
    """Refuse a pickle, by its name or the first byte of protocols 2 and up, with the command that converts it.

    Raises:
        InputError: it is one.
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
    """Whether ``path`` looks like a saved file (a zip archive with our header), judging by its content."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {"header.npy", "words.npy"} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
