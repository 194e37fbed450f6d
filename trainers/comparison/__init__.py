"""Runs and captioners side by side on the same pictures."""
