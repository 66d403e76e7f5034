"""Choose a threshold on half of the subjects and evaluate it on the other half.

    python examples/choose_operating_point.py out/sample --sensitivity 0.9

A threshold that is evaluated on the studies it was chosen on looks better than it is. Splitting by subject keeps repeat
scans and twins of one pregnancy on the same side. Half of the subjects with disease and half of the others are drawn.
"""

import argparse

import numpy as np

from diagchd_batch.results import open_output
from diagchd_batch.results.columns.evaluation_tables import TABLES
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
diagnosed = studies.loc[studies["reference_label"] == 1, "subject_id"].unique()
others = np.setdiff1d(studies["subject_id"].unique(), diagnosed)
shuffle = np.random.default_rng(arguments.seed).permutation
chosen = [subject for group in (diagnosed, others) for subject in shuffle(group)[: (len(group) + 1) // 2]]
here = studies["subject_id"].isin(chosen)

# The highest threshold that reaches the wanted sensitivity on the first half.
diseased = np.sort(studies.loc[here & (studies["reference_label"] == 1), "score"])[::-1]
if not len(diseased):
    raise SystemExit(f"{arguments.output}: no study has disease by the reference, so no sensitivity can be chosen")
threshold = diseased[int(np.ceil(arguments.sensitivity * len(diseased))) - 1]
print(f"threshold {threshold:.4f}, chosen on {here.sum()} studies")

other = studies[~here]
truth = other["reference_label"].to_numpy(dtype=int)
call = (other["score"] >= threshold).to_numpy(dtype=int)
for name in ("sensitivity", "specificity", "ppv", "npv"):
    rate = estimate_rate(name, truth, call, subjects=other["subject_id"].to_numpy())
    interval = "no interval" if rate.low is None else f"{rate.low:.3f} to {rate.high:.3f}, {rate.method}"
    figure = f"not defined: {rate.null_reason}" if rate.value is None else f"{rate.value:.3f} ({interval})"
    print(f"{name:12} {figure} on the other {len(other)} studies")
print(
    "\nTo have it in every table and report, add it to the job file under evaluation.operating_points:\n"
    f"  - {{name: chosen, threshold: {threshold:.4f}, chosen_on: half of the subjects}}"
)
