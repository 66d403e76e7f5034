"""Evaluates a run: from its score tables, the reference standard and the readers to the metrics tables."""
