"""Runs: their configuration, preparation, steps, checkpoints and folders."""
