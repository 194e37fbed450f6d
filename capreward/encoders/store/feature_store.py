"""The feature store: features are encoded once, and any evaluator or trainer reads them in place of the pictures."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capreward.encoders.store.header import NAME, StoreHeader, field_text, plain_fields
from capreward.encoders.store.parts import PATTERN, Part, read_part
from capreward.errors import InputError, shorten

if TYPE_CHECKING:
    import torch

# Two processes that embed one picture in batches of different sizes get features that differ by rounding, in half
# precision by up to about a hundredth of a feature's length; features of two pictures differ by far more.
SAME = 0.05


class FeatureStore:
    """The features in a folder that ``capreward embed`` wrote, mapped into memory.

    Rows are numbered when the store is opened. A pickle opens the same parts again, so that rows keep their meaning
    while other processes append.

    Args:
        path: The folder.
        parts: The names of the parts to read; None reads all of them.

    Attributes:
        path: The folder.
        header: The description of the features.
        keys: The keys of the N features.
        texts: The embedded texts, [N], in a text store; None in a picture store.

    Raises:
        InputError: The folder is no store, a part is damaged, or two parts disagree about a key.
    """

    def __init__(self, path: str | Path, parts: Sequence[str] | None = None) -> None:
        self.path = Path(path)
        self.header = StoreHeader.read(self.path)
        names = sorted(p.name for p in self.path.glob(PATTERN)) if parts is None else list(parts)
        self._parts = [read_part(self.path / name, self.header) for name in names]
        self.keys: list[str] = []
        self.texts: list[str] | None = None if self.kind == "image" else []
        self._rows: dict[str, int] = {}
        places: list[tuple[int, int]] = []
        for number, part in enumerate(self._parts):
            texts = part.texts or [""] * len(part.keys)
            for index, key in enumerate(part.keys):
                if key in self._rows:
                    first, first_index = places[self._rows[key]]
                    _check_same(key, part, index, self._parts[first], first_index)
                    continue
                self._rows[key] = len(self.keys)
                self.keys.append(key)
                places.append((number, index))
                if self.texts is not None:
                    self.texts.append(texts[index])
        # Rows mean the same in two stores of one folder if both read the same parts.
        self._identity = (self.path.absolute(), self.header.digest, tuple(names))
        self._hash = hash(self._identity)
        self._places = np.array(places, dtype=np.int64).reshape(-1, 2)  # for each row its part and its index there

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __repr__(self) -> str:
        return (
            f"FeatureStore({str(self.path)!r}: {len(self):,} {self.kind} features of {field_text(self.fields, 'sha')})"
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FeatureStore) and self._identity == other._identity

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type[FeatureStore], tuple[Path, list[str]]]:
        return FeatureStore, (self.path.absolute(), [p.path.name for p in self._parts])

    @property
    def kind(self) -> str:
        """The kind of the features: ``image`` or ``text``."""
        return self.header.kind

    @property
    def fields(self) -> dict[str, str]:
        """The properties of the encoder, as ``Encoder.fields()`` returned them when the features were made."""
        return dict(self.header.encoder)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one feature."""
        return self.header.shape

    @property
    def dim(self) -> int:
        """The length of a feature's last axis."""
        return self.header.shape[-1]

    @property
    def dtype(self) -> str:
        """The type of the files' numbers: ``float32``, or ``float16`` at half the size (it changes the last digits)."""
        return self.header.dtype

    def row_of(self, key: str) -> int:
        """Return the row of a key.

        Raises:
            InputError: The store has no such key.
        """
        row = self._rows.get(key)
        if row is None:
            near = difflib.get_close_matches(key, self.keys[:10_000], n=1)
            hint = f"; the nearest is {near[0]!r}" if near else ""
            raise InputError(f"{self.path} has no feature of {key!r} among its {len(self):,}{hint}")
        return row

    def features(self, rows: Sequence[int] | npt.NDArray[np.int64]) -> torch.Tensor:
        """Return the features of ``rows`` [n] as float32 [n, *shape]: as the encoder projected them, not normalised.

        Raises:
            IndexError: A row is outside 0..N-1.
            InputError: A feature holds NaN or infinite values.
        """
        import torch

        wanted = np.asarray(rows, dtype=np.int64).reshape(-1)
        if wanted.size and not 0 <= wanted.min() <= wanted.max() < len(self):
            raise IndexError(f"rows {wanted.min()}..{wanted.max()} of a store of {len(self)} features")
        found = np.empty((len(wanted), *self.shape), dtype=np.float32)
        owner, index = self._places[wanted].T
        for number in np.unique(owner).tolist():
            here = np.flatnonzero(owner == number)
            found[here] = self._parts[number].features[index[here]]
        self._check_numbers(found, wanted)
        return torch.from_numpy(found)

    def _check_numbers(self, found: npt.NDArray[np.float32], rows: npt.NDArray[np.int64]) -> None:
        """Refuse features with NaN or infinite values, which would make every score NaN; one sum shows them."""
        with np.errstate(all="ignore"):
            total = float(found.sum())
        if math.isfinite(total):
            return
        broken = rows[~np.isfinite(found.reshape(len(rows), -1)).all(1)]
        if len(broken):
            named = shorten([repr(self.keys[row]) for row in broken.tolist()])
            raise InputError(
                f"{self.path} holds NaN or infinity in the features of {named}; the weights or the precision that made "
                "them were wrong: embed the pictures anew into another folder"
            )

    def stored(self, key: str) -> StoredFeature:
        """Return the object that stands for the picture of ``key`` in ``Samples.images``.

        Raises:
            InputError: The store has no such key.
        """
        return StoredFeature(self, self.row_of(key))

    def check(
        self,
        fields: Mapping[str, object],
        *,
        kind: str = "image",
        shape: tuple[int, ...] | None = None,
        prompt: str | None = None,
        ignore: Collection[str] = (),
    ) -> None:
        """Refuse features that the encoder in use would not have made.

        Args:
            fields: The result of ``Encoder.fields()`` of the encoder in use.
            kind: The kind of features that is needed, ``image`` (default) or ``text``.
            shape: The shape of one feature; None allows a single vector of any length.
            prompt: The prompt that the evaluator puts before each text; None allows any prompt.
            ignore: The fields that may differ.

        Raises:
            InputError: The message names the first difference and what to do.
        """
        if self.kind != kind:
            raise InputError(f"{self.path} holds {self.kind} features, {kind} features are needed here")
        if shape is None and "tokens" in self.fields:
            raise InputError(
                f"{self.path} holds tokens {list(self.shape)} for captioners, not one feature of each picture; "
                "embed the pictures without --tokens"
            )
        if self.shape != shape and (shape is not None or len(self.shape) > 1):
            raise InputError(f"{self.path} holds features of shape {self.shape}, not {shape or 'one vector each'}")
        name = self.header.difference(fields, ignore)
        if name == "sha":
            ours, theirs = self.fields.get("model", "ITS MODEL"), plain_fields(fields).get("model", "MODEL")
            raise InputError(
                f"features in {self.path} are of {field_text(self.fields, name)}, the evaluator uses "
                f"{field_text(fields, name)}; embed them anew with --model {theirs}, or give the evaluator "
                f"checkpoint={ours}"
            )
        if name:
            raise InputError(
                f"features in {self.path} were made with {field_text(self.fields, name)}, the evaluator uses "
                f"{field_text(fields, name)}; embed them anew, or give the evaluator the same"
            )
        if prompt is not None and prompt != self.header.prompt:
            raise InputError(
                f"features in {self.path} were made with the prompt {self.header.prompt!r}, the evaluator uses "
                f"{prompt!r}; embed them anew with --prompt {prompt!r}"
            )


@dataclass(frozen=True)
class StoredFeature:
    """One ready feature in place of a picture; two objects with the same row are the same picture.

    Attributes:
        store: The store that holds the feature.
        row: The row of the feature in the store.
    """

    store: FeatureStore
    row: int

    @property
    def key(self) -> Hashable:
        """A key that is equal for equal features."""
        return self.store, self.row

    def feature(self) -> torch.Tensor:
        """Return the feature, float32 [*shape]."""
        return self.store.features([self.row])[0]

    def __str__(self) -> str:
        return f"{self.store.keys[self.row]} in {self.store.path}"


def is_store(path: Any) -> bool:
    """Return whether ``path`` is a folder with a ``store.json``."""
    return isinstance(path, (str, Path)) and (Path(path) / NAME).is_file()


def _check_same(key: str, part: Part, index: int, first: Part, first_index: int) -> None:
    """Refuse two features under one key that are not of the same picture or text."""
    a = np.asarray(first.features[first_index], dtype=np.float64).ravel()
    b = np.asarray(part.features[index], dtype=np.float64).ravel()
    same_text = first.texts is None or part.texts is None or first.texts[first_index] == part.texts[index]
    if not same_text or np.linalg.norm(a - b) > SAME * np.linalg.norm(a):
        raise InputError(
            f"{first.path.name} and {part.path.name} in {part.path.parent} hold different features of {key!r}; "
            "delete the wrong part and run the same capreward embed again"
        )
