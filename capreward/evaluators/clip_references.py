"""RefCLIP-S, RefPAC-S and RefPAC-S++: image-text scores joined with the best cosine with a reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.evaluators.clip_score import ClipScore, Prepared, dot
from capreward.samples import Samples

if TYPE_CHECKING:
    from torch import Tensor

CLIP_REWARD = "clip-reward"


class RefClipScore(ClipScore):
    """The harmonic mean of the image-text score (w included) and the best cosine with a reference, per caption.

    The cosine with the references is neither clamped nor multiplied by w, as in the authors' code. If both parts add
    up to 0, the score is 0 (the original divides 0 by 0).
    """

    needs = frozenset({"images", "references"})

    def finished(self, score: Tensor, captions: Tensor, samples: Samples, prepared: Prepared) -> Tensor:
        """Return 2ab / (a + b), where a is the image-text score and b the best reference cosine."""
        import torch

        again = self._normalised(captions) if self.legacy_fp16 else captions  # the original script normalises twice
        best = self.reference_part(_best_reference(again, samples.item, prepared))
        total = score + best
        return torch.where(total == 0, torch.zeros_like(total), 2 * score * best / total)

    def reference_part(self, cosine: Tensor) -> Tensor:
        """Return what is joined with the image-text score, given the best cosine [N] with a reference."""
        return cosine


class RefClipS(RefClipScore):
    """RefCLIP-S (Hessel et al. 2021, eq. 2).

    Args:
        checkpoint: The weights, as for ``ClipScore``.
        compat: ``clip-reward`` selects CLIP-Caption-Reward's own RefCLIP-S, which also clamps the best reference cosine
            at 0 and multiplies it by w. Its numbers are larger and cannot be compared with those of other papers.
        options: The other arguments of ``ClipScore``.
    """

    name = "refclips"
    family = "clips"
    default_w = 2.5

    def __init__(self, checkpoint: str | None = None, *, compat: str | None = None, **options: Any) -> None:
        super().__init__(checkpoint, **options)
        if compat not in (None, CLIP_REWARD):
            raise InputError(f"{self.name}: compat={compat!r} is unknown; write compat={CLIP_REWARD}, or leave it out")
        if compat and not self.clamp:
            raise InputError(f"{self.name}: compat={compat} clamps cosines at 0; leave raw and clamp out")
        self.compat = compat

    def parameters(self) -> dict[str, object]:
        """Return the parameters of CLIP-S, and whose formula is used."""
        return {**super().parameters(), "compat": self.compat}

    def reference_part(self, cosine: Tensor) -> Tensor:
        """Return the cosine, or CLIP-Caption-Reward's w * max(cosine, 0)."""
        return self.factor * cosine.clamp(min=0) if self.compat else cosine


class RefPacS(RefClipScore):
    """RefPAC-S (Sarto et al. 2023). It takes the arguments of ``ClipScore``."""

    name = "refpacs"
    family = "pacs"
    default_w = 2.0


class RefPacSpp(RefClipScore):
    """RefPAC-S++ (Sarto et al. 2024). It takes the arguments of ``ClipScore``."""

    name = "refpacspp"
    family = "pacspp"
    default_w = 2.0


def _best_reference(captions: Tensor, item: npt.NDArray[np.int64], prepared: Prepared) -> Tensor:
    """Return the largest cosine of each caption [N, D] with a reference of its item, computed in blocks of pairs."""
    import torch

    references = prepared.references
    if references is None:
        raise InputError("these features were prepared without references; call prepare of the same evaluator")
    best = []
    starts, counts = prepared.offsets[item], np.diff(prepared.offsets)[item]
    for at in range(0, len(item), 4096):
        count = counts[at : at + 4096]
        caption = np.repeat(np.arange(len(count)), count)
        within = np.arange(len(caption)) - np.repeat(np.cumsum(count) - count, count)
        pairs = torch.as_tensor(np.repeat(starts[at : at + 4096], count) + within, device=captions.device)
        owner = torch.as_tensor(caption, device=captions.device)
        cosines = dot(captions[at : at + 4096][owner], references[pairs])
        least = torch.full((len(count),), -torch.inf, dtype=cosines.dtype, device=cosines.device)
        best.append(least.scatter_reduce(0, owner, cosines, "amax"))
    return torch.cat(best) if best else captions.new_zeros(0)
