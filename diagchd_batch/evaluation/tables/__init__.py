"""The metrics tables: their schemas, endpoint definitions, rows, names and files."""
