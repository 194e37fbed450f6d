"""Exact ranks of captions among images and of images among captions, in blocks: memory grows with N, not N * M."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from capreward.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

TIES = ("pessimistic", "mean", "optimistic")
CUTS = (1, 5, 10, 50)

CPU_BLOCK = 1024  # rows and columns of a block of scores: 4 MB, which fits in the caches
GPU_BLOCK = 8192
PAIRS = 1 << 21  # the most numbers of pairs that are computed exactly at a time
HALF_ULP = 2.0**-24  # the relative rounding error of float32
HALF_ULP_TF32 = 2.0**-11  # the same for inputs, where matrix products may round them to TF32

Progress = Callable[[str, float, float], None]


@dataclass(frozen=True)
class Standing:
    """The standing of each query's own match among all things to find.

    Attributes:
        better: The number of others that score higher than the own match, int64 [Q].
        equal: The number of others that score exactly as high, int64 [Q].
        known: Whether the query has a match of its own, bool [Q].
    """

    better: Tensor
    equal: Tensor
    known: Tensor

    def ranks(self, ties: str = "pessimistic") -> Tensor:
        """Return the ranks, 1 for the best.

        The order of captions or images, with any duplicates among them, does not change the ranks.

        Args:
            ties: The place of the others with the same score: before the own match (``pessimistic``, so that captions
                that fit every image gain nothing), after it (``optimistic``), or half of them each (``mean``).

        Returns:
            The ranks, float64 [Q]; NaN for queries without a match.

        Raises:
            InputError: The way to treat ties is unknown.
        """
        if ties not in TIES:
            raise InputError(f"ties={ties!r} is none of {', '.join(TIES)}")
        share = {"pessimistic": 1.0, "mean": 0.5, "optimistic": 0.0}[ties]
        found = 1 + self.better.double() + share * self.equal.double()
        return found.masked_fill(~self.known, float("nan"))


@dataclass(frozen=True)
class Ranks:
    """The ranks of one set in both directions.

    Attributes:
        text_to_image: For each caption [N] the standing of its image among all M images.
        image_to_text: For each image [M] the standing of the best of its captions among all N captions; unknown if it
            has no caption.
    """

    text_to_image: Standing
    image_to_text: Standing


def retrieval_ranks(
    texts: Tensor,
    images: Tensor,
    item: Tensor | None = None,
    *,
    block: int | None = None,
    progress: Progress | None = None,
) -> Ranks:
    """Rank by inner products (cosines, if features have unit length), both directions from the same blocks.

    Scores are those of float64: float32 products settle what is clearly above or below. Pairs that rounding could turn
    are computed again, with an order of addition that depends on nothing else. So the ranks depend neither on ``block``
    nor on the device, and equal features are tied at any place.

    Args:
        texts: The text features, [N, D], of any norm; they are computed in float32.
        images: The image features, [M, D], on the same device; images without a caption also count among what is found.
        item: The image that each text belongs to, int64 [N]; by default text i belongs to image i.
        block: The number of rows and columns of scores held at a time; None chooses by device.
        progress: A function that is called as (what, done, total); None reports nothing.

    Raises:
        InputError: Shapes do not fit, or features hold NaN or infinite values.
    """
    import torch

    texts, images = texts.detach().float(), images.detach().float()
    own_image = _checked_item(texts, images, item)
    size = block or (GPU_BLOCK if texts.device.type == "cuda" else CPU_BLOCK)
    own = _exact_scores(texts, images, torch.arange(len(texts), device=texts.device), own_image)
    best = torch.full((len(images),), -torch.inf, dtype=torch.float64, device=texts.device)
    best.scatter_reduce_(0, own_image, own, "amax")
    known = torch.zeros(len(images), dtype=torch.bool, device=texts.device)
    known[own_image] = True
    by_text = _Counts(own, _margins(texts, images), _weights(images))
    by_image = _Counts(best, _margins(images, texts), _weights(texts))
    for row in range(0, len(texts), size):
        for column in range(0, len(images), size):
            scores = texts[row : row + size] @ images[column : column + size].T
            text, image = by_text.add(scores, row, column)
            by_text.settle(text, image, _exact_scores(texts, images, text, image))
            image, text = by_image.add(scores.T, column, row)
            by_image.settle(image, text, _exact_scores(texts, images, text, image))
        if progress is not None:
            progress("ranks", min(row + size, len(texts)), len(texts))
    best_own = torch.zeros_like(by_image.equal).index_add_(0, own_image, (own == best[own_image]).long())
    every = torch.ones(len(texts), dtype=torch.bool, device=texts.device)
    return Ranks(
        Standing(by_text.better, by_text.equal - 1, every),
        Standing(by_image.better, by_image.equal - best_own, known),
    )


def summary(ranks: Tensor) -> dict[str, float]:
    """Return the numbers that papers print of ranks.

    Args:
        ranks: The ranks, [Q], 1 for the best; NaN ranks are left out.

    Returns:
        ``r1``, ``r5``, ``r10``, ``r50``: the share of queries at that rank or a better one; ``medr``: the median rank
        (the lower middle one of an even number, rounded down, as in CLIP-Caption-Reward); ``meanr``: the mean rank;
        ``mrr``: the mean of 1 / rank. All are NaN without queries.
    """
    known = ranks[~ranks.isnan()].double().cpu().numpy()
    if not len(known):
        return dict.fromkeys([*(f"r{cut}" for cut in CUTS), "medr", "meanr", "mrr"], float("nan"))
    shares = {f"r{cut}": float((known <= cut).mean()) for cut in CUTS}
    median = float(np.floor(np.median(known - 1)) + 1)
    return {**shares, "medr": median, "meanr": float(known.mean()), "mrr": float((1 / known).mean())}


class _Counts:
    """The numbers of scores above, and exactly at, the own score of each query of one direction.

    Args:
        own: The own scores, float64 [Q]; minus infinity for queries without a match.
        margin: The largest error of a query's float32 scores, float64 [Q].
        weight: The number of copies of each thing to find, int64 [G]; 0 for all but the first of equal ones.
    """

    def __init__(self, own: Tensor, margin: Tensor, weight: Tensor) -> None:
        import torch

        self.own = own
        none = own == -torch.inf
        low, high = (own - margin).masked_fill(none, torch.inf), (own + margin).masked_fill(none, torch.inf)
        self.low = torch.nextafter(low.float(), torch.full_like(low, -torch.inf).float())
        self.low[none] = torch.inf
        self.high = torch.nextafter(high.float(), torch.full_like(high, torch.inf).float())
        self.weight = weight
        self.repeated = bool((weight != 1).any())
        self.better = torch.zeros(len(own), dtype=torch.int64, device=own.device)
        self.equal = torch.zeros_like(self.better)

    def add(self, scores: Tensor, query: int, found: int) -> tuple[Tensor, Tensor]:
        """Count scores clearly above in a block [q, g]; return the undecided pairs as (queries, found)."""
        import torch

        rows = slice(query, query + scores.shape[0])
        weight = self.weight[found : found + scores.shape[1]]
        above = scores > self.high[rows, None]
        near = (scores >= self.low[rows, None]) ^ above
        if self.repeated:
            near &= weight > 0
            self.better[rows] += (above.float() @ weight.float()).long()
        else:
            self.better[rows] += above.view(torch.uint8).sum(1, dtype=torch.int32)
        first, second = _places(near)
        return first + query, second + found

    def settle(self, query: Tensor, found: Tensor, exact: Tensor) -> None:
        """Count pairs by their exact scores."""
        own, weight = self.own[query], self.weight[found]
        self.better.index_add_(0, query, weight * (exact > own))
        self.equal.index_add_(0, query, weight * (exact == own))


def _checked_item(texts: Tensor, images: Tensor, item: Tensor | None) -> Tensor:
    """Check all shapes and numbers, and return the image of each text."""
    import torch

    shapes = f"{list(texts.shape)} and {list(images.shape)}"
    if texts.ndim != 2 or images.ndim != 2 or texts.shape[1] != images.shape[1]:
        raise InputError(f"texts and images need features of one length, [N, D] and [M, D]; found {shapes}")
    if item is None and len(texts) != len(images):
        raise InputError(f"{len(texts):,} texts and {len(images):,} images; give item, the image of each text")
    own = torch.arange(len(texts)) if item is None else item
    if own.shape != texts.shape[:1] or (len(own) and not 0 <= int(own.min()) <= int(own.max()) < len(images)):
        raise InputError(f"item needs for each of {len(texts):,} texts the number of one of {len(images):,} images")
    if not (texts.isfinite().all() and images.isfinite().all()):
        raise InputError("some features are no numbers; leave out broken images before ranking")
    return own.to(texts.device)


def _exact_scores(texts: Tensor, images: Tensor, text: Tensor, image: Tensor) -> Tensor:
    """Return inner products of pairs [P] in float64: products are exact, and sums are added by halves everywhere."""
    import torch

    found = [torch.zeros(0, dtype=torch.float64, device=texts.device)]
    for part in range(0, len(text), size := max(1, PAIRS // max(1, texts.shape[1]))):
        left, right = texts[text[part : part + size]].double(), images[image[part : part + size]].double()
        left *= right
        width = left.shape[1]
        while width > 1:
            half = (width + 1) // 2
            left[:, : width - half] += left[:, half:width]
            width = half
        found.append(left[:, 0].clone() if left.shape[1] else left.new_zeros(len(left)))
    return torch.cat(found)


def _margins(queries: Tensor, found: Tensor) -> Tensor:
    """Return the largest error of a query's float32 score in any order of addition: D u |x| |y|, float64 [Q]."""
    import torch

    coarse = queries.device.type == "cuda" and torch.backends.cuda.matmul.allow_tf32
    unit = 1.01 * (queries.shape[1] + 2) * HALF_ULP + (3 * HALF_ULP_TF32 if coarse else 0)
    length: Tensor = torch.linalg.vector_norm(queries, dim=1, dtype=torch.float64)
    if not len(found):
        return length
    return length * (unit * float(torch.linalg.vector_norm(found, dim=1, dtype=torch.float64).max()))


def _weights(features: Tensor) -> Tensor:
    """Return how often each row occurs, at its first place, and 0 at the others, int64 [N]."""
    import torch

    rows = np.ascontiguousarray(features.cpu().numpy())
    weight = np.zeros(len(rows), dtype=np.int64)
    if rows.size:
        keys = rows.view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()
        _, first, count = np.unique(keys, return_index=True, return_counts=True)
        weight[first] = count
    return torch.from_numpy(weight).to(features.device)


def _places(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return rows and columns of true values; numpy finds them ten times as fast on the CPU."""
    import torch

    if not mask.is_contiguous() and mask.T.is_contiguous():
        columns, rows = _places(mask.T)
        return rows, columns
    if mask.device.type == "cpu":
        flat = torch.from_numpy(np.flatnonzero(mask.numpy()))
        return flat // max(1, mask.shape[1]), flat % max(1, mask.shape[1])
    rows, columns = mask.nonzero(as_tuple=True)
    return rows, columns
