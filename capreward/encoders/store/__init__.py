"""Features kept in a folder, encoded once."""
