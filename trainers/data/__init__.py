"""Training data: pictures with any number of captions, from files, shards or the scenes world, in endless batches."""

from trainers.data.batch import Batch
from trainers.data.dataset import Dataset, Item
from trainers.data.evaluation_batches import ordered
from trainers.data.loading import open_dataset
from trainers.data.training_batches import Batches

__all__ = ["Batch", "Batches", "Dataset", "Item", "open_dataset", "ordered"]
