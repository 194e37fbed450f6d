"""From what a user names to weights: files, folders, tags, the catalogue and the user's own library."""
