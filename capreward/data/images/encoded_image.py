"""Opening an encoded picture with PIL, and saying in one sentence why one cannot be used."""

from __future__ import annotations

import warnings
from typing import IO, TYPE_CHECKING

from capreward.data.file_content import BINARY_KINDS, error_line
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
# What only some builds of Pillow read: the mark and its place, the format, Pillow's name for it, and what to do.
OPTIONAL: tuple[tuple[bytes, int, str, str, str], ...] = (
    (b"ftypavif", 4, "an AVIF picture", "avif", "type pip install 'pillow>=11.3'"),
    (b"ftypavis", 4, "an AVIF picture", "avif", "type pip install 'pillow>=11.3'"),
    (b"jP  \r\n\x87\n", 4, "a JPEG 2000 picture", "jpg_2000", "install a Pillow that was built with OpenJPEG"),
    (b"\xff\x4f\xff\x51", 0, "a JPEG 2000 picture", "jpg_2000", "install a Pillow that was built with OpenJPEG"),
)
HEIF_MARKS = (b"ftypheic", b"ftypheix", b"ftypmif1")


class BrokenImage(InputError):
    """A picture that cannot be decoded; the message names it and the cause. ``--skip-broken`` leaves such out."""


def open_encoded(stream: IO[bytes], name: str) -> Image.Image:
    """Open and decode the first frame of an encoded picture, doing nothing that PIL does not do by itself.

    PIL warns from 89 megapixels on and refuses from twice that on. The warning is silenced here: scans and panoramas
    of that size are data, and a line per picture would bury everything else. The refusal stands, as a BrokenImage.

    Args:
        stream: seekable, at the start of the picture.
        name: of the picture, for messages.

    Raises:
        BrokenImage: empty, truncated, not a picture, of a format that this Pillow lacks, or above its limit of pixels.
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
        raise BrokenImage(f"{name} is refused as too large: {_first_lower(error_line(error)).rstrip('.')}") from error
    except Exception as error:
        # The decoders are many and raise what they like: OSError, SyntaxError, struct.error, ValueError, IndexError.
        stream.seek(0)
        lacking = _lacking(stream.read(HEAD))
        if lacking:
            raise BrokenImage(f"{name} is {lacking}") from error
        raise BrokenImage(f"{name} is damaged: {error_text(error)}") from error
    return image


def error_text(error: Exception) -> str:
    """What an exception says, or its name if it says nothing."""
    return _first_lower(error_line(error)) or type(error).__name__


def _identified(stream: IO[bytes]) -> str:
    stream.seek(0)
    head = stream.read(HEAD)
    if not head:
        return "empty (0 bytes)"
    if not head.strip(b"\0"):
        return "filled with zero bytes; copy or download it again"
    if lacking := _lacking(head):
        return lacking
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for mark, what in PAGE_MARKS:
        if text.startswith(mark):
            return what
    for mark, what in BINARY_KINDS:
        if head.startswith(mark):
            return f"damaged: it begins as {what} and does not go on as one" if "picture" in what else what
    return f"no picture that PIL can read (its first bytes are {head[:8].hex(' ')})"


def _lacking(head: bytes) -> str:
    """What a picture is whose format the Pillow that is here does not read, and what to do; empty for any other."""
    import PIL
    from PIL import features

    for mark, place, what, feature, instead in OPTIONAL:
        if head[place:].startswith(mark):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # of a feature that an older Pillow has not heard of
                if features.check(feature):
                    return ""
            return f"{what}, which the Pillow here ({PIL.__version__}) does not read; {instead}, or save it as PNG"
    if head[4:12] in HEIF_MARKS:
        return "a HEIF picture, which PIL does not read; save it as JPEG or PNG"
    return ""


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
