"""The Java programs of the reference implementations, which run in managed processes."""
