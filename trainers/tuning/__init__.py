"""Training of the CLIP evaluators themselves."""
