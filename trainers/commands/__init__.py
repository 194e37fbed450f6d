"""The commands that train and what they need, one file each."""
