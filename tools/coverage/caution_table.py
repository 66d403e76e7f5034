"""The evaluation's list of cells whose coverage is too low, from which the report warns."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from diagchd_batch.evaluation.tables.cautions import FAILED_CELLS_FILE, FailedCell
from tools.coverage.results import Measured, Run, add_up
from tools.coverage.tables import is_test, passes, truth

FILE: Path = FAILED_CELLS_FILE


def file_text(runs: Sequence[Run]) -> str:
    """Return the text of the file. Of several true values under the same conditions, the worst one is listed.

    Args:
        runs: What was measured.
    """
    worst: dict[tuple[str, bool, int, int], Measured] = {}
    for entry in add_up(runs):
        if passes(entry):
            continue
        cell = entry.cell
        key = entry.figure, cell.clustered, cell.diseased, cell.subjects - cell.diseased
        if key not in worst or (entry.share > worst[key].share) == is_test(entry.figure):
            worst[key] = entry
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FailedCell._fields)
    for (figure, repeats, diseased, healthy), entry in sorted(worst.items()):
        methods, share = " ".join(entry.methods), f"{entry.share:.4f}"
        writer.writerow([figure, methods, int(repeats), diseased, healthy, truth(entry), share, entry.given])
    return text.getvalue()
