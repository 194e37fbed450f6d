"""Java programs of the reference implementations, run in managed processes."""
