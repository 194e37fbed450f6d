"""Training data: pictures with any number of captions, from files, shards or the scenes world, in endless batches."""

from trainers.data.batch import Batch
from trainers.data.batches import Batches
from trainers.data.dataset import Dataset, Item
from trainers.data.opening import open_dataset
from trainers.data.ordered import ordered

__all__ = ["Batch", "Batches", "Dataset", "Item", "open_dataset", "ordered"]
