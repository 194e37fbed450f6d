"""CLIP encoders: their checkpoints, their batching and the features they leave behind."""
