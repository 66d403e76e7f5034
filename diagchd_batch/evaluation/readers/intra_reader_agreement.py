"""Agreement of a reader with himself or herself over the sessions of an arm."""

from collections.abc import Iterator

import numpy as np

from diagchd_batch.evaluation.readers.agreement import pair_rows
from diagchd_batch.evaluation.readers.reader_study import reader_study
from diagchd_batch.evaluation.readers.reads import Reads, session_order
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.evaluation.units_and_raters import Rater, Units


def session_rows(rows: RowBuilder, reads: Reads, cohort: Units, excluded: np.ndarray) -> Iterator[Row]:
    """Compare each reader's first session with every later one of the same arm.

    Args:
        rows: Columns that all rows share.
        reads: All reads.
        cohort: All planned studies.
        excluded: bool [planned studies], those that the manifest excludes.

    Yields:
        Rows of `estimates` in the analysis set `agreement`.
    """
    nowhere = np.zeros(len(cohort), dtype=bool)
    for arm in reads.arms():
        of_arm = reads.where(reads.arm == arm)
        for name in sorted(set(of_arm.reader.tolist())):
            own = of_arm.where(of_arm.reader == name)
            sessions = sorted(set(own.session.tolist()), key=session_order)
            for later in sessions[1:]:
                study = np.unique(own.study)
                first, second = (
                    reader_study(own.where(own.session == session), cohort, excluded, nowhere, study)
                    for session in (sessions[0], later)
                )
                again = second.readers[0]
                comparator = Rater("session", f"session {later}", again.call, again.reason)
                here = rows.with_columns(analysis_set="agreement", covariate="session", level=f"{sessions[0]}, {later}")
                yield from pair_rows(here, first.units, first.readers[0], comparator)
