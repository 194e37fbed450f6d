"""What a file is, how it is understood, and what it can be used for."""
