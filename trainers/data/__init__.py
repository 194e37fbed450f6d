"""Training data: pictures with any number of captions, from files, shards or the scenes world, in endless batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainers.data.batch import Batch
    from trainers.data.dataset import Dataset, Item
    from trainers.data.evaluation_batches import ordered
    from trainers.data.loading import open_dataset
    from trainers.data.training_batches import Batches

__all__ = ["Batch", "Batches", "Dataset", "Item", "open_dataset", "ordered"]

_HOMES = {
    "Batch": "trainers.data.batch",
    "Batches": "trainers.data.training_batches",
    "Dataset": "trainers.data.dataset",
    "Item": "trainers.data.dataset",
    "open_dataset": "trainers.data.loading",
    "ordered": "trainers.data.evaluation_batches",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is asked for, so that a run's configuration can be read without NumPy."""
    if name not in _HOMES:
        raise AttributeError(f"module 'trainers.data' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
