"""Retrieval of images by their captions, and of captions by their images, with any CLIP."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capreward.errors import InputError
from capreward.evaluators.base import Evaluator
from capreward.evaluators.clip_options import check_texts
from capreward.evaluators.clip_score import ClipScore, Prepared
from capreward.retrieval_ranks import CUTS, TIES
from capreward.samples import Samples
from capreward.scores import Score

if TYPE_CHECKING:
    from torch import Tensor

    from capreward.retrieval_ranks import Ranks

Floats = npt.NDArray[np.float64]

FAMILIES = ("clips", "pacs", "pacspp", "grammar")
PARTS = (*(f"r{cut}" for cut in CUTS), "medr", "meanr", "mrr")
WAYS = ("t2i", "i2t")


class Retrieval(ClipScore):
    """How well captions identify their images: recalls, ranks and reciprocal ranks in both directions.

    Each caption is a query for its image among all images of the set (``retrieval-t2i-r1``, ...). Each image is a query
    for any of its captions among all captions (``retrieval-i2t-r1``, ...). Both go by the cosine of a CLIP's features:

    - ``r1``, ``r5``, ``r10``, ``r50``: the share that is found at that rank or better; range [0, 1];
    - ``medr``, ``meanr``: median rank, rounded down to a whole number, and mean rank, from 1; lower is better;
    - ``mrr``: the mean of 1 / rank; range (0, 1].

    Each number depends on the whole set: recall falls as the set grows, so compare sets on the same images only.
    Intervals resample the queries and leave the things to be found as they are. Published numbers
    (CLIP-Caption-Reward, DiCO) are those of one caption per image, ViT-B/32, and no prompt.

    Args:
        checkpoint: The weights, as for ``ClipScore``.
        family: The family whose published weights are used: ``clips``, ``pacs``, ``pacspp`` or ``grammar``.
        variant: The variant of them, ``B/32`` or ``L/14``.
        prompt: The text before captions; None by default, as published.
        ties: The place of others with exactly the same score: before the own one (``pessimistic``), after it
            (``optimistic``), or half of them each (``mean``). A caption that several images share is such a tie.
        precision: The precision, as for ``ClipScore``.
        device: The device of the encoder.
        quick_gelu: Whether the activation is QuickGELU, for weights that do not state theirs.
        statistics: The pixel statistics, for weights that do not state theirs.
        lora_mlp: Whether to fold PAC-S++'s LoRA factors of the MLP too.
        upright: Whether to turn images by their EXIF tag and bring 16-bit images to 8 bits.
        batch_size: The number of images per batch.
        workers: The number of processes that decode images.
        skip_broken: Whether to leave out broken images and their captions.
        download: Whether to fetch weights that are not here.
        base: Weights whose image tower completes a checkpoint that has no image tower.
    """

    name = "retrieval"
    gaps = True  # images that could not be read
    columns = tuple(f"retrieval-{way}-{part}" for way in WAYS for part in PARTS)

    def __init__(
        self,
        checkpoint: str | None = None,
        *,
        family: str = "clips",
        variant: str | None = None,
        prompt: str | None = None,
        ties: str = "pessimistic",
        precision: str = "fp32",
        device: str = "auto",
        quick_gelu: bool | None = None,
        statistics: str | None = None,
        lora_mlp: bool = False,
        upright: bool = True,
        batch_size: int | None = None,
        workers: int | None = None,
        skip_broken: bool = False,
        download: bool = False,
        base: str | None = None,
    ) -> None:
        super().__init__(
            checkpoint,
            variant=variant,
            prompt=prompt,
            raw=True,
            precision=precision,
            device=device,
            quick_gelu=quick_gelu,
            statistics=statistics,
            lora_mlp=lora_mlp,
            upright=upright,
            batch_size=batch_size,
            workers=workers,
            skip_broken=skip_broken,
            download=download,
            base=base,
        )
        check_texts(self.name, {"family": family, "ties": ties})
        for option, value, known in (("family", family, FAMILIES), ("ties", ties, TIES)):
            if value not in known:
                raise InputError(f"{self.name}: {option}={value!r} is none of {', '.join(known)}")
        self.family = family
        self.ties = ties

    def parameters(self) -> dict[str, object]:
        """Return weights, prompt and the treatment of ties."""
        return {**self._encoder_fields, "prompt": self.prompt or "none", "ties": self.ties}

    def data_signature(self, samples: Samples, prepared: Prepared) -> dict[str, object]:
        """Return how many images and captions there are to find."""
        there = _readable(prepared)
        return {"gallery": f"{int(there.sum())}x{int(there[samples.item].sum())}"}

    def check_reward(self) -> None:
        """Refuse use as a reward: the value of a caption depends on the rest of the batch."""
        raise InputError(f"{self.name} ranks captions among all others of the set, and is no reward; write clips")

    def __call__(self, samples: Samples, prepared: Prepared | None = None) -> Tensor:
        """Refuse, as ``check_reward`` does.

        Raises:
            InputError: The call always fails.
        """
        return Evaluator.__call__(self, samples, prepared)

    def values(self, samples: Samples, prepared: Prepared) -> Floats:
        """Return hits, ranks and reciprocal ranks of each caption, and of its image, [N, 14]."""
        return self.finish(self.statistics(samples, prepared))

    def statistics(self, samples: Samples, prepared: Prepared) -> Floats:
        """Return sums and counts, [N, 28]; an image's part is divided among its captions."""
        by_text, by_image = self.ranks(samples, prepared)
        each = np.bincount(samples.item, minlength=samples.n_items)[samples.item]
        parts = np.stack([_rank_statistics(by_text), _rank_statistics(by_image[samples.item])], axis=1)  # [N, 2, 7]
        shares = np.stack([np.ones(len(each)), 1 / np.maximum(each, 1)], axis=1)[..., None]
        known = ~np.isnan(parts)
        found = np.concatenate([np.where(known, parts, 0.0) * shares, known * shares], axis=1)
        return found.reshape(len(each), -1)

    def ranks(self, samples: Samples, prepared: Prepared) -> tuple[Floats, Floats]:
        """Return the rank of each caption's image [N] and of each image's best caption [M], from 1; NaN if broken."""
        import torch

        from capreward.retrieval_ranks import retrieval_ranks

        encoder = self.pool.encoder(prepared.settings)
        found = self._texts(samples, encoder, "captions", lambda: samples.captions)
        there = _readable(prepared)
        rows = there[samples.item]
        place = np.cumsum(there) - 1
        kept = torch.as_tensor(there, device=prepared.images.device)
        texts = self._normalised(found.values)[torch.as_tensor(rows, device=kept.device)]
        item = torch.as_tensor(place[samples.item[rows]], device=kept.device)
        ranked: Ranks = retrieval_ranks(texts, prepared.images[kept], item, progress=self._progress)
        both = []
        for mask, standing in ((rows, ranked.text_to_image), (there, ranked.image_to_text)):
            spread = np.full(len(mask), np.nan)
            spread[mask] = standing.ranks(self.ties).cpu().numpy()
            both.append(spread)
        return both[0], both[1]

    def gather(self, scores: list[Score]) -> Score:
        """Return the score of the family; medians are no function of sums and have no interval."""
        return super().gather([_with_direction(score, len(self.columns)) for score in scores])


def _readable(prepared: Prepared) -> npt.NDArray[np.bool_]:
    """Return for each item whether its image could be read, bool [M]."""
    there: npt.NDArray[np.bool_] = (~prepared.images.isnan().any(dim=1)).cpu().numpy()
    return there


def _rank_statistics(ranks: Floats) -> Floats:
    """Return [N, 7] of ranks [N]: hits at each cut, the rank twice (for its median and its mean), and 1 / rank."""
    hits = np.where(np.isnan(ranks)[:, None], np.nan, ranks[:, None] <= np.array(CUTS))
    return np.concatenate([hits, np.stack([ranks, ranks, 1 / ranks], axis=1)], axis=1)


def _with_direction(score: Score, columns: int) -> Score:
    """Return the score of a column with its direction; a median replaces the mean of ranks."""
    part = score.name.rpartition("-")[2]
    if part not in ("medr", "meanr"):
        return score
    changed: dict[str, Any] = {"higher_is_better": False, "is_share": False}
    if part == "medr":
        ranks = score.per_caption
        if "-i2t-" in score.name and score.statistics is not None:
            with np.errstate(invalid="ignore"):
                ranks = score.statistics[:, score.column] / score.statistics[:, columns + score.column]
        changed |= {"value": _median(ranks), "per_caption": None, "statistics": None, "finish": None}
    return replace(score, **changed)


def _median(ranks: Floats | None) -> float:
    import torch

    from capreward.retrieval_ranks import summary

    return summary(torch.from_numpy(np.zeros(0) if ranks is None else ranks))["medr"]
