"""Weights files as tables of tensors; nothing in a file is run."""
