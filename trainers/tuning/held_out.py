"""The evaluation of held-out pairs: all processes encode them together, and the main process computes the figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainers.tuning.contrastive_losses import retrieval
from trainers.tuning.pairs import PairMaker, held_out_batches

if TYPE_CHECKING:
    from accelerate import Accelerator

    from trainers.tuning.objective import Objective
    from trainers.tuning.preparation import PreparedTuning
    from trainers.tuning.towers import Towers

HELD_OUT_STEP = -1  # the step that held-out pairs are drawn for, always the same


@dataclass
class EncodedBatch:
    """A batch of b held-out pairs, encoded.

    Attributes:
        position: The position of its first pair among all pairs.
        size: The number of pairs b.
        texts: The texts of the objective, n * b.
        states: The text states before the projection, [n * b, d].
        features: The text features, [n * b, D].
        image: The image features [b, D], or None.
        more_image: The features of the further images [b, D], or None.
    """

    position: int
    size: int
    texts: list[str]
    states: Tensor
    features: Tensor
    image: Tensor | None
    more_image: Tensor | None

    def rows(self, kind: int) -> slice:
        """Return the slice of the texts of a kind."""
        return slice(kind * self.size, (kind + 1) * self.size)


def encode_held_out(
    ready: PreparedTuning, towers: Towers, accelerator: Accelerator
) -> tuple[list[EncodedBatch], list[str]]:
    """Encode the held-out pairs; each process encodes its share.

    Args:
        ready: The parts of the run, with held-out pairs.
        towers: The towers of the CLIP.
        accelerator: The accelerator of the processes.

    Returns:
        The batches of all processes in order, and a sentence for each item that could not be read.
    """
    val, config, image_steps = ready.val, ready.config, ready.base.spec.preprocessing
    assert val is not None  # noqa: S101  # for the type checker: asked before
    maker = PairMaker(val, image_steps, accelerator.device, config.seed, first_caption=True)
    batches = held_out_batches(
        val,
        image_steps,
        batch_size=config.evaluation.batch_size,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        workers=config.data.workers,
    )
    encoded, broken = [], []
    for loaded in batches:
        broken += loaded.batch.broken
        pairs, chances = maker.pairs(loaded, HELD_OUT_STEP, loaded.batch.position)
        texts = ready.objective.texts(pairs, chances)
        text = towers.text(texts)
        image = None if pairs.images is None else towers.image(pairs.images).cpu()
        more = None if pairs.more_images is None else towers.image(pairs.more_images).cpu()
        place = loaded.batch.position
        encoded.append(
            EncodedBatch(place, len(loaded.batch), texts, text.states.cpu(), text.features.cpu(), image, more)
        )
    if accelerator.num_processes > 1:
        from accelerate.utils import gather_object

        encoded, broken = gather_object(encoded), gather_object(broken)
    return sorted(encoded, key=lambda batch: batch.position), broken


def figures_of(
    batches: list[EncodedBatch], objective: Objective, extra: nn.ModuleDict, scale: Tensor
) -> dict[str, float]:
    """Compute the loss as a mean over pairs, the figures of the objective, and retrieval in both directions.

    Args:
        batches: The batches of all held-out pairs, in order.
        objective: The objective.
        extra: The modules beside the model.
        scale: The inverse temperature.
    """
    device = scale.device
    total = sum(batch.size for batch in batches)
    figures: dict[str, float] = {}
    for batch in batches:
        image, more = (None if rows is None else rows.to(device) for rows in (batch.image, batch.more_image))
        loss = objective.loss(image, more, batch.states.to(device), batch.features.to(device), extra, scale)
        for name, value in {"loss": loss[0], **loss[1]}.items():
            figures[name] = figures.get(name, 0.0) + float(value) * batch.size / total
    kinds = len(batches[0].texts) // batches[0].size
    texts = [text for kind in range(kinds) for batch in batches for text in batch.texts[batch.rows(kind)]]
    states = torch.cat([batch.states[batch.rows(kind)] for kind in range(kinds) for batch in batches])
    figures |= objective.validate(texts, states.to(device), extra)
    images = [batch.image for batch in batches if batch.image is not None]
    if images:
        captions = torch.cat([batch.features[batch.rows(0)] for batch in batches])
        figures |= retrieval(torch.cat(images).to(device), captions.to(device))
    return figures
