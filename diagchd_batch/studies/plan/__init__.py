"""The plan of a run: making it from an inventory, freezing it, and reading it."""
