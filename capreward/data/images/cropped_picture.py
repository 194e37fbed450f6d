"""Pictures whose crops are at hand already, so that a captioner and its rewards decode each picture once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL import Image

    from capreward.data.images.picture import Picture
    from capreward.encoders.spec import Preprocessing


@dataclass(frozen=True, eq=False)
class DecodedPicture:
    """A picture with crops of it: the same picture to everyone, and not decoded again where a crop will do.

    Attributes:
        picture: the picture itself.
        crops: per preprocessing its crop, uint8 [S, S, 3], as ``prepare`` made it.
    """

    picture: Picture
    crops: Mapping[Preprocessing, npt.NDArray[np.uint8]] = field(repr=False)

    def __str__(self) -> str:
        return str(self.picture)

    @property
    def key(self) -> Hashable:
        """The key of the picture itself."""
        return self.picture.key

    def open(self) -> Image.Image:
        """Decode the picture itself.

        Raises:
            BrokenImage: it cannot be decoded.
        """
        return self.picture.open()

    def crop(self, preprocessing: Preprocessing) -> npt.NDArray[np.uint8] | None:
        """The crop for a preprocessing, uint8 [S, S, 3]; None if it is not among those made."""
        wanted = crop_fields(preprocessing)
        return next((crop for made, crop in self.crops.items() if crop_fields(made) == wanted), None)


def crop_fields(preprocessing: Preprocessing) -> tuple[Hashable, ...]:
    """What a crop depends on: all but the mean and the spread, which come in afterwards."""
    p = preprocessing
    return p.size, p.interpolation, p.resize, p.decode, p.cropping


def without_crops(image: Any) -> Any:
    """The image itself, where it comes with crops; anything else as it is."""
    return image.picture if isinstance(image, DecodedPicture) else image
