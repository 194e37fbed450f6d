"""The formats of caption files: the recognition and the reader of each."""
