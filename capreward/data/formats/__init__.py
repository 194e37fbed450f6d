"""The formats of caption files: how each is recognised and read."""
