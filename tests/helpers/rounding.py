"""How far two ways of computing one number may lie apart: the one tolerance of the tests, and why it is what it is.

Bits are compared only where the same operations run in the same order: a file written and read back, a run that was
killed and resumed, independent rows taken in another order. Everywhere else the terms of a sum meet in another order
and each partial sum is rounded otherwise: a batch and its parts, padding and none, factors beside a weight or folded
into it, one thread or two. Even a weight that wants a gradient suffices, because torch then multiplies by one large
matrix product instead of several small ones; and which kernel runs depends on the CPU.
"""

from __future__ import annotations

import torch

ROUNDINGS = 128  # in a row, all in one direction; the towers and captioners of the tests need about ten (2e-6 measured)


def tolerance(precision=torch.float32, scale=1.0):
    """The greatest difference that rounding explains, for numbers up to ``scale``: 1.5e-5 in float32, 2.8e-14 in float64.

    What a wrong weight, mask or formula changes is larger by orders of magnitude, so nothing hides below it.
    """
    return ROUNDINGS * torch.finfo(precision).eps * scale


def check_close(mine, theirs, precision=torch.float32):
    """Whether two tensors, arrays, numbers or lists of them are the same but for rounding.

    Args:
        mine: numbers.
        theirs: as many, in the same shape; the largest of them is the scale. NaN and infinity meet their like.
        precision: in which both were computed, whatever type they were stored in later.
    """
    mine, theirs = (torch.as_tensor(x, dtype=torch.float64).detach() for x in (mine, theirs))
    finite = theirs[theirs.isfinite()].abs()
    scale = float(finite.max()) if finite.numel() else 0.0
    torch.testing.assert_close(mine, theirs, rtol=0, atol=tolerance(precision, scale), equal_nan=True)
