"""The table `reads`: every matched read, and the readers' majority, by study."""

import numpy as np
import pyarrow as pa

from diagchd_batch.evaluation.cohort.database import CohortDatabase
from diagchd_batch.evaluation.readers.reader_study import Reads
from diagchd_batch.evaluation.units import EXCLUDED, UNDECIDED, Rater

_COLUMNS = pa.schema(
    [
        ("study", pa.int64()),
        *[(name, pa.string()) for name in ("subject_kind", "subject", "session", "arm", "status")],
        ("call", pa.float64()),
        ("score", pa.float64()),
    ]
)


def reads_table(
    database: CohortDatabase, reads: Reads | None, majority: tuple[np.ndarray, Rater] | None
) -> pa.RecordBatchReader:
    """Streams the rows in the order of the studies' tokens. `majority`: the numbers of its studies, and its calls."""
    parts = [_COLUMNS.empty_table()]
    if reads is not None:
        kind = np.full(len(reads), "reader", dtype=object)
        parts.append(
            _table(reads.study, kind, reads.reader, reads.session, reads.arm, reads.status, reads.call, reads.score)
        )
    if majority is not None:
        study, rater = majority
        shown = rater.reason != EXCLUDED
        study, rater = study[shown], rater.take(shown)
        status = np.where(rater.reason == 0, "decided", np.where(rater.reason == UNDECIDED, "undecided", "not_read"))
        text = {name: np.full(len(study), value, dtype=object) for name, value in (("kind", "majority"), ("none", ""))}
        name = np.full(len(study), rater.name, dtype=object)
        nothing = np.full(len(study), np.nan)
        parts.append(
            _table(study, text["kind"], name, text["none"], text["none"], status.astype(object), rater.call, nothing)
        )
    database.register("shown_reads", pa.concat_tables(parts))
    return database.stream(
        """
        SELECT study_id, subject_kind, shown_reads.subject AS subject, nullif(session, '') AS session,
               nullif(arm, '') AS arm, shown_reads.status AS status,
               CASE call WHEN 1 THEN 'positive' WHEN 0 THEN 'negative' END AS call, score,
               CAST(label AS TINYINT) AS reference_label
        FROM shown_reads JOIN planned USING (study) JOIN labels USING (study)
        ORDER BY study, subject_kind DESC, shown_reads.subject, session, arm
        """
    )


def _table(*columns: np.ndarray) -> pa.Table:
    arrays = [pa.array(values, field.type, from_pandas=True) for values, field in zip(columns, _COLUMNS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=_COLUMNS)
