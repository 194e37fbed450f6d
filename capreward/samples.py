"""Samples: the captions to judge, the image that each describes, and the facts known of each image."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError, shorten

if TYPE_CHECKING:
    from capreward.data.file_report import FileReport

T = TypeVar("T")

ITEMS = "of the items"  # the first part of memo keys for values that depend on the items alone


class Samples:
    """N captions of M items (images), with what is known of each item.

    K candidates of one image share one item, so its image is encoded once and its references are counted once.

    Args:
        captions: The N captions to judge, raw strings.
        references: For each item its reference captions (a bare string counts as a list of one). An item may have none;
            evaluators that need references then give NaN for its captions.
        images: For each item its image (PIL image, path, tensor or ready features).
        item: For each caption the index of the item it describes, shape [N]; by default caption i describes item i.
        key: For each item its name in reports; by default its number.
        files: Reports on the files that the captions and references were read from.
        notes: Notes for the user about these files, one sentence each.

    Raises:
        InputError: Lengths do not fit together, an index is out of range, or a caption is not a string.
    """

    def __init__(
        self,
        captions: Sequence[str],
        *,
        references: Sequence[Sequence[str] | str] | None = None,
        images: Sequence[Any] | None = None,
        item: Sequence[int] | npt.NDArray[np.int64] | None = None,
        key: Sequence[str] | None = None,
        files: Sequence[FileReport] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self.files = tuple(files)
        self.notes = tuple(notes)
        self.captions = _strings(captions, "captions")
        self.references = None if references is None else [_reference_list(r, i) for i, r in enumerate(references)]
        self.images = None if images is None else list(images)
        n_items = _count_items(len(self.captions), self.references, self.images, key, item)
        self.item = _item_indices(item, len(self.captions), n_items)
        self.key = [str(i) for i in range(n_items)] if key is None else [str(k) for k in key]
        self.named = key is not None
        self._memo: dict[tuple[Hashable, int], tuple[Any, object]] = {}

    def __len__(self) -> int:
        return len(self.captions)

    def __repr__(self) -> str:
        known = [n for n in ("references", "images") if getattr(self, n) is not None]
        return f"Samples({len(self)} captions of {self.n_items} items, {' and '.join(known) or 'captions alone'})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_memo": {}}

    @property
    def n_items(self) -> int:
        """The number of items M."""
        return len(self.key)

    @property
    def caption_keys(self) -> tuple[str, ...]:
        """For each caption the key of its item, N of them."""

        def build() -> tuple[str, ...]:
            return tuple(self.key[i] for i in self.item.tolist())

        return self.memo("caption-keys", build)

    @cached_property
    def has_references(self) -> npt.NDArray[np.bool_]:
        """For each item whether it has at least one reference, shape [M]; read-only."""
        found = np.zeros(self.n_items, dtype=bool)
        if self.references is not None:
            found[:] = list(map(bool, self.references))
        found.flags.writeable = False
        return found

    def memo(self, key: Hashable, build: Callable[[], T], *, given: object = None) -> T:
        """Return a value that was already derived from these samples under ``key``, or derive it now with ``build``.

        Several evaluators tokenize and count the same captions; each derived value is made once per Samples and is
        forgotten with it. A pickle does not hold it. ``given`` is another object that the value is derived from: the
        memo distinguishes such objects by identity, and keeps each object as long as its value.
        """
        full = (key, id(given))
        if full not in self._memo:
            self._memo[full] = (build(), given)
        value: T = self._memo[full][0]
        return value

    def share_items(self, other: Samples) -> None:
        """Take over values that other captions of the same items derived from the items alone, such as features."""
        if self.key != other.key or self.references != other.references:
            return
        for (key, origin), value in other._memo.items():
            if isinstance(key, tuple) and key[0] == ITEMS:
                self._memo.setdefault((key, origin), value)

    def take(self, rows: npt.NDArray[np.int64]) -> Samples:
        """Return the captions ``rows`` with all items kept, so that what was prepared for the items stays valid."""
        return self._like([self.captions[i] for i in rows], self.references, self.item[rows])

    def without_candidates_in_references(self) -> Samples:
        """Remove from each item's references those equal to one of its candidates (surrounding blanks ignored).

        Benchmarks whose candidates include human captions (Flickr8k-CF, Composite) require it, because a candidate that
        is its own reference tests nothing.
        """
        if self.references is None:
            return self
        own: list[set[str]] = [set() for _ in range(self.n_items)]
        for caption, item in zip(self.captions, self.item.tolist(), strict=True):
            own[item].add(caption.strip())
        kept = [[r for r in refs if r.strip() not in mine] for refs, mine in zip(self.references, own, strict=True)]
        return self._like(self.captions, kept, self.item)

    def _like(self, captions: list[str], references: list[list[str]] | None, item: npt.NDArray[np.int64]) -> Samples:
        """Return other captions of the same items."""
        made = Samples(captions, references=references, images=self.images, item=item, key=self.key)
        made.files, made.notes = self.files, self.notes
        made.named = self.named
        return made


def _strings(values: Sequence[str], what: str) -> list[str]:
    if isinstance(values, str):
        raise InputError(f"{what} must be a list of strings, found one string; write [{values[:20]!r}]")
    found = list(values)
    for i, value in enumerate(found):
        if not isinstance(value, str):
            raise InputError(f"{what}[{i}] is {value!r} ({type(value).__name__}); every caption must be a string")
    return found


def _reference_list(references: Sequence[str] | str, item: int) -> list[str]:
    if isinstance(references, str):
        return [references]
    if not isinstance(references, (list, tuple)):
        found = type(references).__name__
        raise InputError(f"references[{item}] is a {found}; every item needs a list of reference captions")
    return _strings(references, f"references[{item}]")


def _count_items(
    n_captions: int,
    references: Sequence[Any] | None,
    images: Sequence[Any] | None,
    key: Sequence[Any] | None,
    item: Sequence[int] | npt.NDArray[np.int64] | None,
) -> int:
    named = {"references": references, "images": images, "key": key}
    lengths = {name: len(values) for name, values in named.items() if values is not None}
    if not lengths:
        return n_captions if item is None else int(max(item, default=-1)) + 1
    if len(set(lengths.values())) > 1:
        found = shorten([f"{n} {name}" for name, n in lengths.items()])
        raise InputError(f"references, images and key need one entry per item; found {found}")
    return next(iter(lengths.values()))


def _item_indices(
    item: Sequence[int] | npt.NDArray[np.int64] | None, n_captions: int, n_items: int
) -> npt.NDArray[np.int64]:
    if item is None:
        if n_captions != n_items:
            raise InputError(
                f"found {n_captions} captions and {n_items} items; "
                "give item=[...] to say which item each caption describes"
            )
        return np.arange(n_captions, dtype=np.int64)
    indices = np.asarray(item)
    if indices.shape != (n_captions,) or (n_captions and indices.dtype.kind not in "iu"):
        raise InputError(
            f"item needs one whole number per caption ({n_captions}); found {indices.dtype} {indices.shape}"
        )
    if n_captions and not (indices.min() >= 0 and indices.max() < n_items):
        raise InputError(f"item holds an index outside 0..{n_items - 1}: {indices.min()} or {indices.max()}")
    return indices.astype(np.int64)
