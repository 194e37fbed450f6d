"""The opening of encoded pictures with PIL, and the sentences that say why a picture cannot be used."""

from __future__ import annotations

import warnings
from typing import IO, TYPE_CHECKING

from capreward.data.file_content import BINARY_KINDS, error_line
from capreward.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

HEAD = 512  # the first bytes, by which a file that is no picture is recognised
PAGE_MARKS: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype html", "an HTML page saved under a picture's name; download it again"),
    (b"<html", "an HTML page saved under a picture's name; download it again"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the picture with git lfs pull"),
    (b"<svg", "an SVG drawing, which PIL does not read; save it as PNG"),
    (b"<?xml", "an XML text, not a picture"),
    (b"{", "a JSON text, not a picture"),
)
# Formats that only some builds of Pillow read: the mark, its place, the format, Pillow's name for it, and the remedy.
OPTIONAL: tuple[tuple[bytes, int, str, str, str], ...] = (
    (b"ftypavif", 4, "an AVIF picture", "avif", "type pip install 'pillow>=11.3'"),
    (b"ftypavis", 4, "an AVIF picture", "avif", "type pip install 'pillow>=11.3'"),
    (b"jP  \r\n\x87\n", 4, "a JPEG 2000 picture", "jpg_2000", "install a Pillow that was built with OpenJPEG"),
    (b"\xff\x4f\xff\x51", 0, "a JPEG 2000 picture", "jpg_2000", "install a Pillow that was built with OpenJPEG"),
)
HEIF_MARKS = (b"ftypheic", b"ftypheix", b"ftypmif1")


class BrokenImage(InputError):
    """A picture cannot be decoded; the message names it and the cause. ``--skip-broken`` leaves such pictures out."""


def open_encoded(stream: IO[bytes], name: str) -> Image.Image:
    """Open and decode the first frame of an encoded picture, exactly as PIL does.

    PIL warns about pictures of more than 89 megapixels and refuses those of more than twice that number. The warning
    is silenced here: scans and panoramas of that size are valid data, and one line per picture would hide all other
    output. The refusal becomes a BrokenImage.

    Args:
        stream: A seekable stream at the start of the picture.
        name: The name of the picture, for messages.

    Raises:
        BrokenImage: If the picture is empty or truncated, is no picture, has a format that this Pillow does not read,
            or has more pixels than PIL allows.
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
        raise BrokenImage(f"{name} is {_describe_file(stream)}") from None
    except Image.DecompressionBombError as error:
        raise BrokenImage(f"{name} is refused as too large: {_first_lower(error_line(error)).rstrip('.')}") from error
    except Exception as error:
        # Each decoder raises its own errors: OSError, SyntaxError, struct.error, ValueError, IndexError.
        stream.seek(0)
        lacking = _unsupported_format_text(stream.read(HEAD))
        if lacking:
            raise BrokenImage(f"{name} is {lacking}") from error
        raise BrokenImage(f"{name} is damaged: {error_text(error)}") from error
    return image


def error_text(error: Exception) -> str:
    """Return the message of an exception, or the name of its class if it has none."""
    return _first_lower(error_line(error)) or type(error).__name__


def _describe_file(stream: IO[bytes]) -> str:
    stream.seek(0)
    head = stream.read(HEAD)
    if not head:
        return "empty (0 bytes)"
    if not head.strip(b"\0"):
        return "filled with zero bytes; copy or download it again"
    if lacking := _unsupported_format_text(head):
        return lacking
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for mark, what in PAGE_MARKS:
        if text.startswith(mark):
            return what
    for mark, what in BINARY_KINDS:
        if head.startswith(mark):
            return f"damaged: it begins as {what} and does not go on as one" if "picture" in what else what
    return f"no picture that PIL can read (its first bytes are {head[:8].hex(' ')})"


def _unsupported_format_text(head: bytes) -> str:
    """Name the format of a picture that the installed Pillow does not read, and the remedy; empty for any other."""
    import PIL
    from PIL import features

    for mark, place, what, feature, instead in OPTIONAL:
        if head[place:].startswith(mark):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # an older Pillow warns of a feature that it does not know
                if features.check(feature):
                    return ""
            return f"{what}, which the Pillow here ({PIL.__version__}) does not read; {instead}, or save it as PNG"
    if head[4:12] in HEIF_MARKS:
        return "a HEIF picture, which PIL does not read; save it as JPEG or PNG"
    return ""


def _first_lower(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
