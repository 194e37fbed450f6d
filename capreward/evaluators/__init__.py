"""The evaluators, one file per family."""
