"""Arrays of per-caption values that know the image of each value and refuse to mix with another order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError

Keys = tuple[str, ...]

JOINING = (np.concatenate, np.append, np.hstack)  # these put values one after another and mix none of them


class PerCaption(np.ndarray[tuple[Any, ...], np.dtype[Any]]):
    """Values [N] with the image of each: an array that refuses arithmetic across different images.

    ``rl.per_caption - xe.per_caption`` of two files whose captions have different orders would subtract values of
    different images; here it raises, and the message suggests ``xe.align(rl)``. Slices keep their images. Results that
    are not one value per caption (sums, sorted values) are plain arrays or numbers, as is ``np.asarray(values)``.

    Args:
        values: The values, [N].
        keys: The image of each value, N of them.

    Attributes:
        keys: The images; None for an array that is no longer one value per caption.
    """

    keys: Keys | None

    def __new__(cls, values: npt.ArrayLike, keys: Iterable[str]) -> PerCaption:
        """Return a view of the values that knows their images."""
        made = np.asarray(values).view(cls)
        made.keys = keys if isinstance(keys, tuple) else tuple(keys)
        if made.shape != (len(made.keys),):
            raise InputError(f"values per caption need one key each; found {made.shape} values and {len(made.keys)}")
        return made

    def __array_finalize__(self, source: object) -> None:
        self.keys = None  # a view may hold other rows than its source; code that knows the rows sets the keys

    def __array_ufunc__(self, ufunc: np.ufunc, method: Any, *inputs: Any, **options: Any) -> Any:
        """Apply the function to each element; refuse values of different captions."""
        keys = _keys_of(inputs)
        out = options.get("out")
        if out is not None:
            options["out"] = tuple(_without_keys(o) for o in out)
        found = getattr(ufunc, method)(*map(_without_keys, inputs), **options)
        if out is not None:
            return out[0] if len(out) == 1 else out
        keeps = method == "__call__" and keys is not None and getattr(found, "shape", None) == (len(keys),)
        return PerCaption(found, keys) if keeps and keys is not None else found

    def __array_function__(self, function: Callable[..., Any], types: Any, inputs: Any, options: Any) -> Any:
        """Apply the function to plain arrays; refuse values of different captions, except to join them end to end."""
        if function not in JOINING:
            _keys_of([*inputs, *options.values()])
        return function(*map(_without_keys, inputs), **{name: _without_keys(value) for name, value in options.items()})

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        if isinstance(found, PerCaption) and self.keys is not None and found.ndim == 1 and self.ndim == 1:
            rows = np.arange(len(self))[index]
            if rows.shape == found.shape:
                found.keys = tuple(self.keys[i] for i in rows.tolist())
        return found

    def copy(self, *arguments: Any, **options: Any) -> PerCaption:
        """Return the same values of the same captions."""
        made = super().copy(*arguments, **options)
        made.keys = self.keys
        return made

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> PerCaption:
        return self.copy()

    def sort(self, *arguments: Any, **options: Any) -> None:
        """Sort in place; the array then no longer knows its images."""
        self.keys = None
        super().sort(*arguments, **options)

    def __reduce__(self) -> Any:
        return _restored, (np.asarray(self), self.keys)


def _restored(values: npt.NDArray[Any], keys: Keys | None) -> PerCaption:
    if keys is not None:
        return PerCaption(values, keys)
    return values.view(PerCaption)


def _keys_of(values: Iterable[Any]) -> Keys | None:
    """Return the keys that all values with keys share.

    Raises:
        InputError: The values are of different captions, or of the same captions in another order.
    """
    found: Keys | None = None
    for value in _flattened(values):
        keys = value.keys if isinstance(value, PerCaption) else None
        if keys is None or keys is found:
            continue
        if found is not None and keys != found:
            raise InputError(_different_captions_message(found, keys))
        found = keys
    return found


def _different_captions_message(one: Keys, other: Keys) -> str:
    rows = zip(one, other, strict=False)
    first = next((f"row {n} is image {a} in one and {b} in the other" for n, (a, b) in enumerate(rows) if a != b), "")
    told = first or f"they are of {len(one):,} and of {len(other):,} captions"
    return (
        f"these values are of different captions: {told}; bring both into one order by one, other = one.align(other) "
        "of their Scores"
    )


def _flattened(values: Iterable[Any]) -> Iterable[Any]:
    """Yield the values, and the values inside lists and tuples."""
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _flattened(value)
        else:
            yield value


def _without_keys(value: Any) -> Any:
    if isinstance(value, PerCaption):
        return value.view(np.ndarray)
    if isinstance(value, (list, tuple)) and any(isinstance(v, PerCaption) for v in _flattened(value)):
        return type(value)(map(_without_keys, value))
    return value
