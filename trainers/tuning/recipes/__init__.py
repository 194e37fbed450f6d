"""Named configurations for evaluators: ``capreward tune --recipe NAME``."""
