"""Held-out items: they are captioned, and the captions are judged."""
