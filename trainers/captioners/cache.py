"""The decoder's state while captions grow."""

from __future__ import annotations

import torch
from torch import Tensor


class Cache:
    """The decoder's state while captions grow: N = B * R rows, R rows of each image side by side.

    Keys and values of the image are held once per image. Those of the words lie in a pool of their image, in a buffer
    made in advance; they never move when beams are chosen anew, for each row knows the places of its own words.

    Args:
        cross: per layer the keys and values of the memory, each [B, heads, S, width].
        rows: N.
        longest: L, tokens that a caption may have, the begin token included.
        own: ``cross`` may be overwritten, for nobody else needs it; it is copied when images are dropped otherwise.
    """

    def __init__(self, cross: list[tuple[Tensor, Tensor]], rows: int, longest: int, *, own: bool = False) -> None:
        self.cross = cross
        self.length = 0  # tokens fed so far
        self.longest = longest
        key = cross[0][0]
        self._used = self._first = 0  # places of each image's pool; where those of the newest tokens begin
        self._bias: Tensor | None = None
        self._own = own
        per_image = rows // max(len(key), 1)
        shape = (len(key), len(cross), longest * per_image, 2, key.shape[1], key.shape[3])
        self.words = torch.empty(shape, dtype=key.dtype, device=key.device)
        self.places = torch.zeros((rows, longest), dtype=torch.long, device=key.device)

    def __len__(self) -> int:
        return len(self.places)

    @property
    def images(self) -> int:
        """B."""
        return len(self.words)

    @property
    def per_image(self) -> int:
        """R."""
        return len(self.places) // max(self.images, 1)

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Add the newest token's keys and values, layer by layer, the first one first.

        Args:
            layer: which.
            key: [B, heads, R, width].
            value: like ``key``.

        Returns:
            Keys and values of all words of an image, [B, heads, P, width], and what is added to the attention's
            logits, [B, 1, R, P]: -inf where a word is none of the row's; None where all are.
        """
        if layer == 0:
            self._begin(key.dtype)
        end = self._first + self.per_image
        pool = self.words[:, layer, :end].permute(2, 0, 3, 1, 4)
        pool[0, :, :, self._first :] = key
        pool[1, :, :, self._first :] = value
        return pool[0], pool[1], self._bias

    def _begin(self, dtype: torch.dtype) -> None:
        rows, device = self.per_image, self.words.device
        self._first, self._used = self._used, self._used + rows
        newest = torch.arange(self._first, self._used, device=device)
        self.places.view(-1, rows, self.longest)[:, :, self.length] = newest
        self._bias = None
        if self._used > self.length + 1:
            bias = torch.full((len(self), self._used), -torch.inf, dtype=dtype, device=device)
            bias.scatter_(1, self.places[:, : self.length + 1], 0)
            self._bias = bias.view(-1, 1, rows, self._used)

    def reorder(self, rows: Tensor) -> None:
        """Let row n continue what was row ``rows[n]`` of the same image, int64 [N']; N' may differ from N."""
        self.places = self.places.index_select(0, rows)
        wanted = self._used + (self.longest - self.length) * self.per_image
        if wanted > self.words.shape[2]:
            found = self.words.new_empty((*self.words.shape[:2], wanted, *self.words.shape[3:]))
            found[:, :, : self._used] = self.words[:, :, : self._used]
            self.words = found

    def keep(self, images: Tensor, rows: Tensor) -> None:
        """Drop all but the images ``images`` [B'] and the rows ``rows`` [N'] (those of the images kept).

        Where most images keep their number, ``images[i] == i``, little is copied.
        """
        moved = (images != torch.arange(len(images), device=images.device)).nonzero().squeeze(1)
        _move(self.words[:, :, : self._used], images, moved)
        self.words = self.words[: len(images)]
        if self._own:
            self.cross = [(_move(k, images, moved), _move(v, images, moved)) for k, v in self.cross]
        else:
            self.cross = [(k.index_select(0, images), v.index_select(0, images)) for k, v in self.cross]
            self._own = True
        self.reorder(rows)


def _move(table: Tensor, images: Tensor, moved: Tensor) -> Tensor:
    """``table[images]``, made in place where nothing but the rows ``moved`` change."""
    if len(moved):
        table[moved] = table[images[moved]]
    return table[: len(images)]
