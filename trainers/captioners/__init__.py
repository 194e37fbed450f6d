"""The captioners that are trained: from images to a memory, from a memory to words."""
