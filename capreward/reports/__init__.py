"""Reports on results: tables and pages for people, files for programs."""
