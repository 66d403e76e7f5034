"""Proves that an output is complete and unaltered: rows, shards, predictions, runs, lineages, the whole output."""
