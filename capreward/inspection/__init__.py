"""The inspection of files: what a file is, in which ways it can be read, and what it can be used for."""
