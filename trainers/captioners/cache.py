"""The cache that holds the decoder's state while captions grow."""

from __future__ import annotations

import torch
from torch import Tensor


class Cache:
    """The state of the decoder while captions grow: N = B * R rows, where the R rows of an image stand side by side.

    The keys and values of an image are held once per image. Those of the words lie in one pool per image, in a buffer
    that is allocated in advance. They never move when beams are selected again, because each row knows the places of
    its own words.

    Args:
        cross: For each layer the keys and values of the memory, each [B, heads, S, width].
        rows: The number of rows N.
        longest: The greatest number L of tokens of a caption, the begin token included.
        own: Whether the cache may overwrite ``cross``, because nothing else needs it. Otherwise it is copied when
            images are dropped.
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
        """The number of images B."""
        return len(self.words)

    @property
    def per_image(self) -> int:
        """The number of rows R of each image."""
        return len(self.places) // max(self.images, 1)

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Add the keys and values of the newest token; call it for each layer, the first layer first.

        Args:
            layer: The number of the layer.
            key: The keys [B, heads, R, width].
            value: The values, in the shape of ``key``.

        Returns:
            The keys and the values of all words of an image, each [B, heads, P, width], and a bias [B, 1, R, P] for the
            attention's logits. The bias is -inf at words that do not belong to the row; it is None if all words do.
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
        """Let row n continue the former row ``rows[n]`` of the same image, int64 [N']; N' may differ from N."""
        self.places = self.places.index_select(0, rows)
        needed = self._used + (self.longest - self.length) * self.per_image
        if needed > self.words.shape[2]:
            larger = self.words.new_empty((*self.words.shape[:2], needed, *self.words.shape[3:]))
            larger[:, :, : self._used] = self.words[:, :, : self._used]
            self.words = larger

    def keep(self, images: Tensor, rows: Tensor) -> None:
        """Keep only the images ``images`` [B'] and their rows ``rows`` [N'].

        Little is copied if most images keep their number, ``images[i] == i``.
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
    """Return ``table[images]``, made in place where only the rows ``moved`` change."""
    if len(moved):
        table[moved] = table[images[moved]]
    return table[: len(images)]
