"""The contact sheet of scenes: enlarged pictures, each above its caption."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from capreward.data.scenes.backdrops import SIDE
from capreward.data.scenes.world import Scene

if TYPE_CHECKING:
    from PIL.Image import Image

ENLARGED = 3
COLUMNS = 4
MARGIN = 16  # pixels around and between pictures
LETTERS = 13  # pixels
LINE = 17
INK = (40, 40, 46)


def contact_sheet(scenes: Sequence[Scene], columns: int = COLUMNS) -> Image:
    """Draw scenes in rows on white, each with its fullest caption below it.

    Args:
        scenes: The scenes to draw.
        columns: The number of pictures in a row.

    Returns:
        The sheet in mode RGB.
    """
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=LETTERS)
    side = SIDE * ENLARGED
    width = MARGIN + min(columns, len(scenes)) * (side + MARGIN)
    rows = [scenes[i : i + columns] for i in range(0, len(scenes), columns)]
    texts = [[_wrap_text(s.captions[0], side, font.getlength) for s in row] for row in rows]
    heights = [side + 6 + LINE * max(map(len, row)) + MARGIN for row in texts]
    sheet = Image.new("RGB", (width, MARGIN + sum(heights)), "white")
    pen = ImageDraw.Draw(sheet)
    top = MARGIN
    for row, lines, height in zip(rows, texts, heights, strict=True):
        for column, (scene, text) in enumerate(zip(row, lines, strict=True)):
            left = MARGIN + column * (side + MARGIN)
            picture = Image.fromarray(scene.draw()).resize((side, side), Image.Resampling.NEAREST)
            sheet.paste(picture, (left, top))
            for i, line in enumerate(text):
                pen.text((left, top + side + 6 + i * LINE), line, fill=INK, font=font)
        top += height
    return sheet


def _wrap_text(text: str, width: int, length: Callable[[str], float]) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if length(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
