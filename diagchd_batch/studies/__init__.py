"""Studies and their images: the inventory of an archive, the plan of a run, users' tables, and identifiers."""
