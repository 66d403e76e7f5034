"""Rows of the table `cross_tabulation`: how often the calls of two raters, or a call and the label, meet."""

from collections.abc import Iterator

import numpy as np

from diagchd_batch.evaluation.tables.rows import Row
from diagchd_batch.evaluation.units_and_raters import EXCLUDED, INDETERMINATE_REASONS, Rater, Units

_CALLS = ("negative", "positive", "indeterminate", "missing")
_LABELS = ("negative", "positive", "unknown")


def cross_rows(units: Units, rater: Rater, comparator: Rater | None, operating_point: str | None) -> Iterator[Row]:
    """Count the combinations of calls, separately by reference label. Excluded units are left out.

    Args:
        units: The units of both raters.
        rater: The rater in the column `call`.
        comparator: The rater in the column `comparator_call`; None compares with the reference label.
        operating_point: The operating point of the model's calls, None for readers.

    Yields:
        One row for each combination that occurs.
    """
    shown = rater.reason != EXCLUDED
    label = np.where(np.isnan(units.truth), 2, np.nan_to_num(units.truth)).astype(np.int64)
    first = _call_codes(rater)
    second = label if comparator is None else _call_codes(comparator)
    cells = np.stack([label, first, second], axis=1)[shown]
    for (reference_label, call, other), n in zip(*np.unique(cells, axis=0, return_counts=True), strict=True):
        yield {
            "unit": units.name,
            "operating_point": operating_point,
            "subject_kind": rater.kind,
            "subject": rater.name,
            "comparator_kind": "reference" if comparator is None else comparator.kind,
            "comparator": "reference" if comparator is None else comparator.name,
            "reference_call": _LABELS[reference_label],
            "call": _CALLS[call],
            "comparator_call": _LABELS[other] if comparator is None else _CALLS[other],
            "n": int(n),
        }


def _call_codes(rater: Rater) -> np.ndarray:
    """Return each unit's call as an index into `_CALLS`."""
    without_call = np.where(np.isin(rater.reason, INDETERMINATE_REASONS), 2, 3)
    return np.where(rater.reason == 0, np.nan_to_num(rater.call), without_call).astype(np.int64)
