"""SQL over the tables of an output: the views, a read-only database, and the formats of results."""
