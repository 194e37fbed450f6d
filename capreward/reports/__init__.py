"""Tables for people, files for machines."""
