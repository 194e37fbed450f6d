"""Pictures: where they are, how they are decoded, and in which order the originals brought them into shape."""
