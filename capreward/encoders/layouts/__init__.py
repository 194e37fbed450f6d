"""Whose weights a file holds: state dicts of several origins, brought to open_clip's names."""
