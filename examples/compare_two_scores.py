"""Compare two models on the same studies, from a CSV file with their scores.

    python examples/compare_two_scores.py scores.csv --threshold 0.5

The file has one row per study: truth (0 or 1), score_a and score_b, and optionally subject_id where a subject has
several studies. For two runs of one output, `diagchd-batch compare` does this and more.
"""

import argparse

import pandas as pd

from diagchd_batch.statistics.classification import compare_rates, delong_interval, delong_paired
from diagchd_batch.statistics.estimate import Comparison

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("scores", help="a CSV file")
parser.add_argument("--threshold", type=float, default=0.5, help="a study is called CHD at this score and above")
arguments = parser.parse_args()

table = pd.read_csv(arguments.scores)
truth = table["truth"]
subjects = table.get("subject_id")  # None where the file has no such column


def show(name: str, result: Comparison) -> None:
    """Print a difference, its 95 % interval and p, or why there are none."""
    interval = "no interval" if result.low is None else f"{result.low:+.3f} to {result.high:+.3f}"
    p = f"p = {result.p:.3f}" if result.p is not None else f"no test ({result.null_reason})"
    print(f"{name:12} {result.difference:+.3f} ({interval}), {p}")


for name in ("score_a", "score_b"):
    auc = delong_interval(truth, table[name], subjects)
    print(f"AUC of {name}: {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})")
print("\nFirst minus second:")
show("AUC", delong_paired(truth, table["score_a"], table["score_b"], subjects))
calls_a, calls_b = ((table[name] >= arguments.threshold).astype(int) for name in ("score_a", "score_b"))
for rate in ("sensitivity", "specificity", "accuracy"):
    show(rate, compare_rates(rate, truth, calls_a, calls_b, subjects))
