"""Bootstrap, paired tests and rank correlation."""
