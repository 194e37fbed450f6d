"""One training paradigm per file: which captions are tried, and what is learned from their rewards."""
