"""Compute how well readers agree, from a CSV file of their reads.

    python examples/agreement_of_readers.py dataset/sample/readers.csv

The file has one row per read: study_id, reader, call (0 or 1, empty where the reader gave none), and optionally
session. No model, image or output is needed.
"""

import argparse
from itertools import combinations

import pandas as pd

from diagchd_batch.statistics.agreement import cohen_kappa, fleiss_kappa, gwet_ac1, krippendorff_alpha
from diagchd_batch.statistics.estimate import Estimate

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("reads", help="a CSV file of reads")
arguments = parser.parse_args()


def show(name: str, estimate: Estimate) -> None:
    """Print an estimate with its 95 % interval, or why there is none."""
    if estimate.value is None:
        print(f"{name:26} not defined: {estimate.null_reason}")
    elif estimate.low is None:
        print(f"{name:26} {estimate.value:6.3f}  (no interval: {estimate.null_reason}), n = {estimate.n}")
    else:
        print(f"{name:26} {estimate.value:6.3f}  ({estimate.low:.3f} to {estimate.high:.3f}), n = {estimate.n}")


reads = pd.read_csv(arguments.reads, dtype={"study_id": str, "reader": str})
if "session" in reads:
    reads = reads[reads["session"] == reads["session"].min()]  # each reader once: the first session

# Studies are rows, readers are columns; NaN stands where a reader gave no call.
ratings = reads.pivot(index="study_id", columns="reader", values="call")
counts = pd.DataFrame({call: (ratings == call).sum(axis=1) for call in (0, 1)})

show("Fleiss' kappa", fleiss_kappa(counts[counts.sum(axis=1) > 0]))
show("Gwet's AC1", gwet_ac1(ratings, categories=[0, 1]))
show("Krippendorff's alpha", krippendorff_alpha(ratings))
print("\nCohen's kappa of each pair:")
for first, second in combinations(ratings.columns, 2):
    show(f"{first} and {second}", cohen_kappa(pd.crosstab(ratings[first], ratings[second])))
