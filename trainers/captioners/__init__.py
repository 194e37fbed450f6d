"""This package holds the captioners that are trained: they encode images to a memory and decode the memory to words."""
