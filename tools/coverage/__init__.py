"""Measures how often intervals hold the true value and tests reject a true hypothesis: `python -m tools.coverage`."""
