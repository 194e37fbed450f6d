"""Held-out pairs: encoded by all processes together, then judged by the main one."""

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

NEVER = -1  # the step that held-out pairs are drawn for, always the same


@dataclass
class Part:
    """A batch of b held-out pairs, encoded.

    Attributes:
        position: of the first one among all.
        size: b.
        texts: the objective's, n * b.
        states: [n * b, d].
        features: [n * b, D].
        image: [b, D], or None.
        more_image: likewise.
    """

    position: int
    size: int
    texts: list[str]
    states: Tensor
    features: Tensor
    image: Tensor | None
    more_image: Tensor | None

    def rows(self, kind: int) -> slice:
        """Where the texts of a kind are."""
        return slice(kind * self.size, (kind + 1) * self.size)


def look_at(ready: PreparedTuning, towers: Towers, accelerator: Accelerator) -> tuple[list[Part], list[str]]:
    """Encode the held-out pairs, each process its share.

    Args:
        ready: the parts of the run, with held-out pairs.
        towers: at work.
        accelerator: of the processes.

    Returns:
        The parts of all processes in order, and a sentence for each item that could not be read.
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
    parts, broken = [], []
    for loaded in batches:
        broken += loaded.batch.broken
        pairs, chances = maker.pairs(loaded, NEVER, loaded.batch.position)
        texts = ready.objective.texts(pairs, chances)
        read = towers.text(texts)
        image = None if pairs.images is None else towers.image(pairs.images).cpu()
        more = None if pairs.more_images is None else towers.image(pairs.more_images).cpu()
        place = loaded.batch.position
        parts.append(Part(place, len(loaded.batch), texts, read.states.cpu(), read.features.cpu(), image, more))
    if accelerator.num_processes > 1:
        from accelerate.utils import gather_object

        parts, broken = gather_object(parts), gather_object(broken)
    return sorted(parts, key=lambda part: part.position), broken


def figures_of(parts: list[Part], objective: Objective, extra: nn.ModuleDict, scale: Tensor) -> dict[str, float]:
    """The loss as a mean over pairs, what the objective says of itself, and retrieval both ways.

    Args:
        parts: of all held-out pairs, in order.
        objective: what is learned.
        extra: modules beside the model.
        scale: the inverse temperature.
    """
    device = scale.device
    total = sum(part.size for part in parts)
    found: dict[str, float] = {}
    for part in parts:
        image, more = (None if rows is None else rows.to(device) for rows in (part.image, part.more_image))
        told = objective.loss(image, more, part.states.to(device), part.features.to(device), extra, scale)
        for name, value in {"loss": told[0], **told[1]}.items():
            found[name] = found.get(name, 0.0) + float(value) * part.size / total
    kinds = len(parts[0].texts) // parts[0].size
    texts = [text for kind in range(kinds) for part in parts for text in part.texts[part.rows(kind)]]
    states = torch.cat([part.states[part.rows(kind)] for kind in range(kinds) for part in parts])
    found |= objective.validate(texts, states.to(device), extra)
    images = [part.image for part in parts if part.image is not None]
    if images:
        captions = torch.cat([part.features[part.rows(0)] for part in parts])
        found |= retrieval(torch.cat(images).to(device), captions.to(device))
    return found
