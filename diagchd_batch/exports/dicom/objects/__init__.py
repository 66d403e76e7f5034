"""The objects: what is in each, and which UID it has."""
