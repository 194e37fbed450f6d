"""The modules of open_clip: models, their towers and their tokenizers."""
