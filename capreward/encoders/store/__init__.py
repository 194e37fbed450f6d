"""Feature stores: folders with features that are encoded once."""
