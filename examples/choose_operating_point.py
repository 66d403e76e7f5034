"""Choose a threshold on half of the subjects and evaluate it on the other half.

    python examples/choose_operating_point.py out/sample --sensitivity 0.9

A threshold that is evaluated on the studies it was chosen on looks better than it is. Splitting by subject keeps repeat
scans and twins of one pregnancy on the same side.
"""

import argparse

import numpy as np

from diagchd_batch.evaluation.tables.schemas import TABLES
from diagchd_batch.results import open_output
from diagchd_batch.results.query.database import open_query
from diagchd_batch.statistics.classification import estimate_rate

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("output", help="an evaluated output")
parser.add_argument("--sensitivity", type=float, default=0.9, help="the sensitivity to reach where it is chosen")
parser.add_argument("--seed", type=int, default=1, help="of the split into halves")
arguments = parser.parse_args()

studies = (
    open_query(open_output(arguments.output), TABLES)
    .table(
        "SELECT subject_id, score, reference_label FROM study_results "
        "WHERE operating_point = 'default' AND status = 'analysed' ORDER BY study_id"
    )
    .to_pandas()
)
subjects = studies["subject_id"].unique()
chosen = np.random.default_rng(arguments.seed).permutation(subjects)[: len(subjects) // 2]
here = studies["subject_id"].isin(chosen)

# The highest threshold that reaches the wanted sensitivity on the first half.
diseased = np.sort(studies.loc[here & (studies["reference_label"] == 1), "score"])[::-1]
threshold = diseased[int(np.ceil(arguments.sensitivity * len(diseased))) - 1]
print(f"threshold {threshold:.4f}, chosen on {here.sum()} studies")

other = studies[~here]
truth = other["reference_label"].to_numpy(dtype=int)
call = (other["score"] >= threshold).to_numpy(dtype=int)
for name in ("sensitivity", "specificity", "ppv", "npv"):
    rate = estimate_rate(name, truth, call, subjects=other["subject_id"].to_numpy())
    interval = "no interval" if rate.low is None else f"{rate.low:.3f} to {rate.high:.3f}, {rate.method}"
    print(f"{name:12} {rate.value:.3f} ({interval}) on the other {len(other)} studies")
print(
    "\nTo have it in every table and report, add it to the job file under evaluation.operating_points:\n"
    f"  - {{name: chosen, threshold: {threshold:.4f}, chosen_on: half of the subjects}}"
)
