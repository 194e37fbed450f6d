"""open_clip's modules, their towers and their tokenizers."""
