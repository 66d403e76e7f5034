"""Calls and scores against the reference standard: the functions that notebooks need, under one name.

The modules: `confusion` (counts and definitions), `proportions`, `clustered` and `combined_limits` (intervals),
`predictive_values`, `rates` (chooses interval and test for each rate), `auc` and `scores`.
"""

from diagchd_batch.statistics.classification.auc import delong_interval, delong_paired
from diagchd_batch.statistics.classification.combined_limits import likelihood_ratio_log_interval
from diagchd_batch.statistics.classification.confusion import Confusion, confusion
from diagchd_batch.statistics.classification.predictive_values import paired_predictive_values, predictive_values_at
from diagchd_batch.statistics.classification.proportions import (
    mcnemar_exact,
    newcombe_paired_interval,
    paired_proportions,
    proportion,
    proportion_interval,
)
from diagchd_batch.statistics.classification.rates import compare_rates, estimate_rate
from diagchd_batch.statistics.classification.scores import estimate_score

__all__ = [
    "Confusion",
    "compare_rates",
    "confusion",
    "delong_interval",
    "delong_paired",
    "estimate_rate",
    "estimate_score",
    "likelihood_ratio_log_interval",
    "mcnemar_exact",
    "newcombe_paired_interval",
    "paired_predictive_values",
    "paired_proportions",
    "predictive_values_at",
    "proportion",
    "proportion_interval",
]
