"""What is judged: captions, the image each one describes, and what is known of each image."""

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

ITEMS = "of the items"  # first part of the memo keys of what the items alone determine


class Samples:
    """N captions of M items (images), with what is known of each item.

    K candidates of one image share one item, so that its image is encoded and its references are counted once.

    Args:
        captions: the N captions to judge, raw strings.
        references: per item, its reference captions (a bare string counts as a list of one). An item may have none;
            evaluators that need references then give NaN for its captions.
        images: per item, its image (PIL image, path, tensor or ready features).
        item: for each caption the index of the item it describes, shape [N]; by default caption i describes item i.
        key: per item, its name in reports; by default its number.
        files: what the captions and references were read from, where they come from files.
        notes: what a user should know about that, one sentence each.

    Raises:
        InputError: lengths that do not fit together, an index out of range, or a caption that is not a string.
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
        """Return what an earlier evaluator already derived from these samples, or derive it now.

        Several evaluators tokenize and count the same captions; each derived value is made once per Samples and
        forgotten with it. It never travels in a pickle. ``given`` is an object that the value was derived from as
        well: another one has a value of its own (by identity, so the object is kept as long as the value).
        """
        full = (key, id(given))
        if full not in self._memo:
            self._memo[full] = (build(), given)
        value: T = self._memo[full][0]
        return value

    def share_items(self, other: Samples) -> None:
        """Take over what other captions of the same items had derived of the items alone: their images' features."""
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

        Benchmarks whose candidates include human captions (Flickr8k-CF, Composite) ask for it: a candidate that is its
        own reference is no test.
        """
        if self.references is None:
            return self
        own: list[set[str]] = [set() for _ in range(self.n_items)]
        for caption, item in zip(self.captions, self.item.tolist(), strict=True):
            own[item].add(caption.strip())
        kept = [[r for r in refs if r.strip() not in mine] for refs, mine in zip(self.references, own, strict=True)]
        return self._like(self.captions, kept, self.item)

    def _like(self, captions: list[str], references: list[list[str]] | None, item: npt.NDArray[np.int64]) -> Samples:
        """Other captions of the same items."""
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
