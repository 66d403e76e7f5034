"""The definition of a study's score. The evaluation and the worklist both use it, so that their calls agree."""

from collections.abc import Mapping

_PROBABILITY = "DECIMAL(18, 12)"

STUDY_SCORE_SQL: Mapping[str, str] = {
    "mean": f"CAST(sum(CAST(chd_probability AS {_PROBABILITY})) AS DOUBLE) / count(chd_probability)",
    "max": "CAST(max(chd_probability) AS DOUBLE)",
    "median": "median(CAST(chd_probability AS DOUBLE))",
}
"""SQL aggregates of the frames' `chd_probability`, float64, by the job's `evaluation.study_score`.

The mean sums decimals. Decimal sums are exact, so the score does not depend on the order in which DuckDB's threads add.
Probabilities are rounded to 1e-12, which is far finer than float32.
"""
