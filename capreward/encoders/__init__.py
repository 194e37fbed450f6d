"""CLIP encoders: this package reads their checkpoints, encodes batches and stores the features."""
