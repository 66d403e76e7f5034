"""The evaluation of a whole run: from its score tables, reference and readers to the metrics tables."""
