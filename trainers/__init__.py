"""Captioners, decoding, optimizers and the training of evaluators; consumes ``capreward``, which never imports it."""
