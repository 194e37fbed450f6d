"""What turns captions into rewards."""
