"""Evaluates a run: from its score tables, the reference standard and the readers to the metrics tables.

`evaluate` reads the tables and writes the results. `figures_by_rater` decides which figures each rater gets in between.
"""
