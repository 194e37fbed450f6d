"""What processes tell each other about evaluations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainers.evaluation import Captioned

if TYPE_CHECKING:
    from accelerate import Accelerator


def gathered(found: Captioned, accelerator: Accelerator) -> Captioned:
    """The captions of all processes, in the order of the dataset: process r holds items r, r + W, r + 2 W, ...

    Items that could not be read are missing from their process's list, which shifts the order behind them and nothing
    else: every caption keeps its own key, references and picture.
    """
    if accelerator.num_processes == 1:
        return found
    from accelerate.utils import gather_object

    parts: list[Captioned] = gather_object([found])
    whole = Captioned([], [], [], [], [s for part in parts for s in part.broken], 1.0)
    for row in range(max(len(part.keys) for part in parts)):
        for part in parts:
            if row < len(part.keys):
                whole.keys.append(part.keys[row])
                whole.captions.append(part.captions[row])
                whole.references.append(part.references[row])
                whole.pictures.append(part.pictures[row])
    counted = sum(len(part.keys) for part in parts)
    whole.finished = sum(part.finished * len(part.keys) for part in parts) / max(1, counted)
    return whole


def shared(values: dict[str, float], accelerator: Accelerator) -> dict[str, float]:
    """The main process's values, for all."""
    if accelerator.num_processes == 1:
        return values
    from accelerate.utils import broadcast_object_list

    held = [values]
    broadcast_object_list(held)
    return held[0]
