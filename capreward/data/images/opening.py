"""Opening an encoded picture with PIL, and saying in one sentence why one cannot be used."""

from __future__ import annotations

import warnings
from typing import IO, TYPE_CHECKING

from capreward.data.files import BINARY_KINDS, cause
from capreward.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

HEAD = 512  # bytes looked at to tell what a file is that is no picture
PAGE_MARKS: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", "an HTML page saved under a picture's name; download it again"),
    (b"<html", "an HTML page saved under a picture's name; download it again"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the picture with git lfs pull"),
    (b"<svg", "an SVG drawing, which PIL does not read; save it as PNG"),
    (b"<?xml", "an XML text, not a picture"),
    (b"{", "a JSON text, not a picture"),
)


class BrokenImage(InputError):
    """A picture that cannot be decoded; the message names it and the cause. ``--skip-broken`` leaves such out."""


def opened(stream: IO[bytes], name: str) -> Image.Image:
    """Open and decode the first frame of an encoded picture, doing nothing that PIL does not do by itself.

    PIL warns from 89 megapixels on and refuses from twice that on. The warning is silenced here: scans and panoramas
    of that size are data, and a line per picture would bury everything else. The refusal stands, as a BrokenImage.

    Args:
        stream: seekable, at the start of the picture.
        name: of the picture, for messages.

    Raises:
        BrokenImage: empty, truncated, not a picture, or above PIL's limit of pixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(stream)
            image.load()
    except MemoryError:
        raise
    except UnidentifiedImageError:
        raise BrokenImage(f"{name} is {_identified(stream)}") from None
    except Image.DecompressionBombError as error:
        raise BrokenImage(f"{name} is refused as too large: {_first_lower(cause(error)).rstrip('.')}") from error
    except Exception as error:
        # The decoders are many and raise what they like: OSError, SyntaxError, struct.error, ValueError, IndexError.
        raise BrokenImage(f"{name} is damaged: {told(error)}") from error
    return image


def told(error: Exception) -> str:
    """What an exception says, or its name if it says nothing."""
    return _first_lower(cause(error)) or type(error).__name__


def _identified(stream: IO[bytes]) -> str:
    stream.seek(0)
    head = stream.read(HEAD)
    if not head:
        return "empty (0 bytes)"
    if not head.strip(b"\0"):
        return "filled with zero bytes; copy or download it again"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for mark, what in PAGE_MARKS:
        if text.startswith(mark):
            return what
    for mark, what in BINARY_KINDS:
        if head.startswith(mark):
            return f"damaged: it begins as {what} and does not go on as one" if "picture" in what else what
    return f"no picture that PIL can read (its first bytes are {head[:8].hex(' ')})"


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
