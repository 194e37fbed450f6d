"""The order in which items are read: a permutation for each epoch, which depends only on seed and epoch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def permutation(n: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return a permutation of 0..n-1, int64 [n], the same with every version of numpy and on every machine.

    It sorts raw numbers of PCG64, whose stream is fixed; numpy's own ``permutation`` may change.
    """
    numbers = np.random.PCG64(np.random.SeedSequence((seed, epoch))).random_raw(n)
    return np.argsort(numbers, kind="stable").astype(np.int64)


class Order:
    """The endless sequence of epochs, each a permutation of 0..n-1.

    Args:
        n: The number of items, at least 1.
        seed: The seed of the permutations.
    """

    def __init__(self, n: int, seed: int) -> None:
        self.n = n
        self.seed = seed
        self._epochs: dict[int, npt.NDArray[np.int64]] = {}

    def take(self, start: int, count: int) -> list[int]:
        """Return the items at ``start .. start + count - 1`` of the sequence."""
        taken: list[int] = []
        while len(taken) < count:
            epoch, place = divmod(start + len(taken), self.n)
            taken += self._epoch(epoch)[place : place + count - len(taken)].tolist()
        return taken

    def _epoch(self, epoch: int) -> npt.NDArray[np.int64]:
        if epoch not in self._epochs:
            # Neighbouring batches lie in one epoch or two; more need not be kept.
            self._epochs = {e: order for e, order in self._epochs.items() if e == epoch - 1}
            self._epochs[epoch] = permutation(self.n, self.seed, epoch)
        return self._epochs[epoch]
