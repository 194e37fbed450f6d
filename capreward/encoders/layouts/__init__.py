"""The layouts of state dicts: which program wrote a file, and its tensors under open_clip's names."""
