"""``scenes``: a small world of drawn pictures with human-like captions whose true content is known."""
