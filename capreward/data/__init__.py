"""Caption files, references and how their ids match."""
