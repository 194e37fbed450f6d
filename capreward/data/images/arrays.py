"""Pictures that are given as arrays or tensors."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from capreward.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

FORMS = "give uint8 [H, W, 3] or [3, H, W], or floats [3, H, W] in [0, 1]"


class ArrayPicture:
    """A picture in an array or tensor: uint8 [H, W, 3] or [3, H, W], or floats [3, H, W] in [0, 1].

    Floats become the nearest of 256 levels, so that ``ToTensor`` and back changes nothing. Two pictures of one object
    are the same picture; the object is kept alive, so that no other object can get its identity. A pickle holds the
    uint8 pixels.

    Args:
        source: A numpy array or a torch tensor, on any device.

    Raises:
        InputError: If the array has another shape or type, or if floats are NaN or outside [0, 1].
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        self._array = _check_array(_on_cpu(source))

    def __repr__(self) -> str:
        return f"ArrayPicture({self})"

    def __str__(self) -> str:
        return f"an array {list(self._array.shape)} of {self._array.dtype}"

    def __getstate__(self) -> dict[str, Any]:
        pixels = self.pixels()
        return {"source": pixels, "_array": pixels}

    @property
    def key(self) -> Hashable:
        """The identity of the array or tensor."""
        return "object", id(self.source)

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Return the pixels, uint8 [H, W, 3], contiguous."""
        import numpy as np

        array = self._array
        if array.dtype.kind == "f":
            array = np.rint(array.astype(np.float32) * np.float32(255)).astype(np.uint8)
        return np.ascontiguousarray(array if array.shape[2] == 3 else array.transpose(1, 2, 0))

    def open(self) -> Image.Image:
        """Return the picture in mode RGB."""
        from PIL import Image

        return Image.fromarray(self.pixels())


def _on_cpu(source: Any) -> npt.NDArray[Any]:
    """Return a numpy view of an array or tensor; a copy only if it is on a GPU or has a type that numpy lacks."""
    import numpy as np

    if isinstance(source, np.ndarray):
        return source
    tensor = source.detach()
    if tensor.is_floating_point():
        tensor = tensor.float()
    array: npt.NDArray[Any] = tensor.cpu().numpy()
    return array


def _check_array(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    import numpy as np

    found = f"an image is an array {list(array.shape)} of {array.dtype}"
    floats = array.dtype.kind == "f"
    if array.ndim != 3 or not (floats or array.dtype == np.uint8) or 0 in array.shape:
        raise InputError(f"{found}; {FORMS}")
    first, last = array.shape[0] == 3, array.shape[2] == 3
    if first and last:
        raise InputError(f"{found}, where either the first or the last axis may be the colours; give a PIL image")
    if not (first or (last and not floats)):
        raise InputError(f"{found}; {FORMS}")
    # Both comparisons are false for NaN, so the negation refuses NaN too.
    if floats and not (array.min() >= 0 and array.max() <= 1):
        what = "NaN" if np.isnan(array).any() else f"values from {array.min():g} to {array.max():g}"
        raise InputError(f"{found} with {what}; floats must lie in [0, 1]")
    return array
