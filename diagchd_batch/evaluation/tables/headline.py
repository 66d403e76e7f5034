"""The headline table, as one SQL query over `estimates` and `comparisons`."""

from pathlib import Path

HEADLINE_SQL = (Path(__file__).with_name("headline.sql")).read_text(encoding="utf-8")
"""One row for each subject and endpoint: the value with its interval, and the model's difference to it with test and p.

DuckDB can run it over views or tables `estimates` and `comparisons` of one run.
"""
