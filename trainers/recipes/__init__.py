"""Named configurations of published set-ups: ``--recipe NAME``."""
