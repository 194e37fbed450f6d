"""The communication of processes about evaluations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.evaluation.captions import CaptionedItems

if TYPE_CHECKING:
    from accelerate import Accelerator


def gather_captions(items: CaptionedItems, accelerator: Accelerator) -> CaptionedItems:
    """Gather the captions of all processes, in the order of the dataset."""
    if accelerator.num_processes == 1:
        return items
    from accelerate.utils import gather_object

    parts: list[CaptionedItems] = gather_object([items])
    order = sorted((place, p, row) for p, part in enumerate(parts) for row, place in enumerate(part.places))
    whole = CaptionedItems([], [], [], [], [s for part in parts for s in part.broken], 1.0)
    for place, p, row in order:
        part = parts[p]
        whole.keys.append(part.keys[row])
        whole.captions.append(part.captions[row])
        whole.references.append(part.references[row])
        whole.pictures.append(part.pictures[row])
        whole.places.append(place)
    whole.finished = sum(part.finished * len(part.keys) for part in parts) / max(1, len(order))
    return whole


def broadcast_values(values: dict[str, float], accelerator: Accelerator) -> dict[str, float]:
    """Broadcast the values of the main process to all processes."""
    if accelerator.num_processes == 1:
        return values
    from accelerate.utils import broadcast_object_list

    holder = [values]
    broadcast_object_list(holder)
    return holder[0]
