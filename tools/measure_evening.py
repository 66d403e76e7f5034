"""Measures a new user's evening: makes studies to train on, trains, and scores the sample with the new package.

    python -m tools.measure_evening --out out/evening                           from the bundled weights
    python -m tools.measure_evening --out out/evening-scratch --from-scratch    from random weights

It gives the time of each command, and the cross-validated AUC and the mean IoU of the held-out studies. Run it on a
machine that does nothing else.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from diagchd_batch.exit_codes import ExitCode

MEAN_IOU = """
WITH pixels AS (
    SELECT *, reference_px_background + reference_px_septum + reference_px_heart - septum_px - heart_px AS background_px
    FROM scores WHERE reference_status = 'ok'
)
SELECT (
    sum(intersection_px_background)
        / sum(background_px + reference_px_background - intersection_px_background)
    + sum(intersection_px_septum) / sum(septum_px + reference_px_septum - intersection_px_septum)
    + sum(intersection_px_heart) / sum(heart_px + reference_px_heart - intersection_px_heart)
) / 3 AS mean_iou
FROM pixels
"""
"""IoU of the three classes, each pooled over all images, averaged."""


def timed(*words: str) -> float:
    """Run a command of the program, and return its time in seconds."""
    print(f"diagchd-batch {shlex.join(words)}", flush=True)
    began_s = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "diagchd_batch", *words])
    if done.returncode not in (ExitCode.DONE, ExitCode.FAILED_INPUTS):
        raise SystemExit(f"diagchd-batch {words[0]} ended with exit code {done.returncode}")
    return round(time.monotonic() - began_s, 1)


def mean_iou(output: str) -> float:
    """Return the mean IoU of the out-of-fold predictions."""
    command = [sys.executable, "-m", "diagchd_batch", "query", output, MEAN_IOU, "--format", "json"]
    (row,) = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    return float(row["mean_iou"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="a new directory")
    parser.add_argument("--studies", type=int, default=300, help="studies to train on (default 300)")
    parser.add_argument("--from-scratch", action="store_true", help="train from random weights")
    arguments = parser.parse_args()
    out = arguments.out
    changes = ["--set", "training.initial_weights=scratch"] if arguments.from_scratch else []
    seconds = {
        "sample": timed("sample", out, "--training-studies", str(arguments.studies)),
        "train": timed("train", f"{out}/train.yaml", *changes),
        "submit": timed("submit", f"{out}/job.yaml", "--set", f"model.name={out}/package"),
    }
    card = json.loads((Path(out) / "package" / "card.json").read_text(encoding="utf-8"))
    figures = {
        "studies": arguments.studies,
        "seconds": seconds,
        "total_seconds": round(sum(seconds.values()), 1),
        "out_of_fold_auc": card["training"]["cross_validated_auc"],
        "out_of_fold_mean_iou": mean_iou(f"{out}/out-training"),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
