"""Weights of evaluators: the readers of every name that a user may give, the catalogue and the user's library."""
