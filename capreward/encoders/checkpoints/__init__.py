"""Readers that turn weights files into tables of tensors; no code in a file is run."""
