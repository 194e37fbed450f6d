"""Image-caption evaluators that are metrics and rewards alike."""
