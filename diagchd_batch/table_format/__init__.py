"""What tables of an output have in common: how a column is declared, and which metadata a schema carries."""
