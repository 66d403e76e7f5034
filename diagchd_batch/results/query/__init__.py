"""SQL over the tables of an output: which tables there are, a database that can only read, results in files."""
