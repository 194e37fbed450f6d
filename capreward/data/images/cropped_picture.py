"""Pictures that come with their crops, so that a captioner and its rewards decode each picture only once."""

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
    """A picture with its crops; it has the key of the picture, and is not decoded again where a crop is enough.

    Attributes:
        picture: The picture itself.
        crops: The crop for each preprocessing, uint8 [S, S, 3], as ``prepare`` made it.
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
            BrokenImage: If the picture cannot be decoded.
        """
        return self.picture.open()

    def crop(self, preprocessing: Preprocessing) -> npt.NDArray[np.uint8] | None:
        """Return the crop for a preprocessing, uint8 [S, S, 3]; None if that crop was not made."""
        wanted = crop_fields(preprocessing)
        return next((crop for made, crop in self.crops.items() if crop_fields(made) == wanted), None)


def crop_fields(preprocessing: Preprocessing) -> tuple[Hashable, ...]:
    """Return the fields that a crop depends on: all but mean and standard deviation, which are applied afterwards."""
    p = preprocessing
    return p.size, p.interpolation, p.resize, p.decode, p.cropping


def without_crops(image: Any) -> Any:
    """Return the picture itself if the image is a picture with crops; any other image is returned as it is."""
    return image.picture if isinstance(image, DecodedPicture) else image
