"""The readers' reads, and the table `reads`."""

from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa

from diagchd_batch.evaluation.database import CohortDatabase
from diagchd_batch.evaluation.units_and_raters import EXCLUDED, UNDECIDED, Rater

UNAIDED = "unaided"


@dataclass(frozen=True)
class Reads:
    """The reads that belong to a study of the run. All arrays have one entry for each read.

    Attributes:
        study: int64, the study's number.
        reader: str, the reader's name as shown in tables.
        session: str, the session's name as shown in tables, empty if the readers' table has none.
        arm: str, likewise.
        status: str, `read`, `not_read` or `indeterminate`.
        call: float64, 1 positive, 0 negative, NaN without a call.
        score: float64, NaN without a score.
    """

    study: np.ndarray
    reader: np.ndarray
    session: np.ndarray
    arm: np.ndarray
    status: np.ndarray
    call: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.study)

    def where(self, rows: np.ndarray) -> "Reads":
        """Return the selected reads.

        Args:
            rows: bool [reads].
        """
        return Reads(*(getattr(self, column.name)[rows] for column in fields(self)))

    def arms(self) -> list[str]:
        """Return the names of all arms. The main arm comes first: `unaided`, or the first by name."""
        return sorted(set(self.arm.tolist()), key=lambda arm: (arm.casefold() != UNAIDED, arm))

    def first_sessions(self, arm: str) -> "Reads":
        """Return the reads of each reader's first session in an arm.

        Args:
            arm: The arm's name.
        """
        reads = self.where(self.arm == arm)
        keep = np.zeros(len(reads), dtype=bool)
        for reader in set(reads.reader.tolist()):
            own = reads.reader == reader
            first = min(set(reads.session[own].tolist()), key=session_order)
            keep |= own & (reads.session == first)
        return reads.where(keep)


def session_order(session: str) -> tuple[bool, int, str]:
    """Return a key that sorts `session 2` before `session 10`."""
    digits = "".join(character for character in session if character.isdigit())
    return (not digits, int(digits or 0), session)


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
    """Stream the table `reads` in the order of the studies' tokens.

    Args:
        database: A database with the tables `planned` and `labels`.
        reads: All reads, or None if there are no readers.
        majority: The studies' numbers and the majority's calls on them, or None if there are no readers.

    Returns:
        Batches with schema `READS`.
    """
    parts = [_COLUMNS.empty_table()]
    if reads is not None:
        kind = np.full(len(reads), "reader", dtype=object)
        parts.append(
            _table(reads.study, kind, reads.reader, reads.session, reads.arm, reads.status, reads.call, reads.score)
        )
    if majority is not None:
        parts.append(_majority_table(*majority))
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


def _majority_table(study: np.ndarray, rater: Rater) -> pa.Table:
    shown = rater.reason != EXCLUDED
    study, rater = study[shown], rater.take(shown)
    status = np.where(rater.reason == 0, "decided", np.where(rater.reason == UNDECIDED, "undecided", "not_read"))
    kind, name, nothing = (np.full(len(study), text, dtype=object) for text in ("majority", rater.name, ""))
    no_score = np.full(len(study), np.nan)
    return _table(study, kind, name, nothing, nothing, status.astype(object), rater.call, no_score)


def _table(*columns: np.ndarray) -> pa.Table:
    arrays = [pa.array(values, field.type, from_pandas=True) for values, field in zip(columns, _COLUMNS, strict=True)]
    return pa.Table.from_arrays(arrays, schema=_COLUMNS)
