"""Which studies reached the analysis, and which did not and why: the table `flow`, and each study's own result."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from diagchd_batch.config.models import OperatingPoint
from diagchd_batch.evaluation.cohort.database import CohortDatabase
from diagchd_batch.evaluation.tables.display_names import Names
from diagchd_batch.evaluation.tables.rows import Row
from diagchd_batch.evaluation.units import REASONS, WITHOUT_REFERENCE, Rater, Units
from diagchd_batch.statistics.inputs import count_subjects

STATUS = (
    "CASE WHEN NOT included THEN 'excluded' WHEN n_frames_ok + n_frames_failed = 0 THEN 'not_scored' "
    "WHEN n_frames_ok = 0 THEN 'failed' WHEN label IS NULL THEN 'without_reference' ELSE 'analysed' END"
)
"""SQL: the first thing that keeps a study from the analysis, in the order of the flow."""

_STEPS = ("planned", "excluded", "not_scored", "failed", "without_reference", "analysed")
_READERS_STEP = 10
_TABLES_STEP = 20
_COUNTS = (
    "count(*) AS n_studies, count(DISTINCT subject) AS n_subjects, count(*) FILTER (label = 1) AS n_positive, "
    "count(*) FILTER (label = 0) AS n_negative, "
    "CAST(coalesce(sum(n_frames_ok + n_frames_failed), 0) AS BIGINT) AS n_frames"
)


def create_results(database: CohortDatabase, names: Names, study_score: str) -> None:
    """Makes the table `results`: scored studies with `label`, `status` and, where it has one, the status's `reason`."""
    own = [row["reason"] for row in database.rows("SELECT DISTINCT unnest(exclude_reasons) AS reason FROM planned")]
    shown = names.numbered("reason", [reason for reason in own if reason])
    database.register("reason_names", pa.table({"own": list(shown), "shown": list(shown.values())}, _REASON_NAMES))
    database.execute(
        f"""
        CREATE TABLE results AS
        SELECT studies.* EXCLUDE (exclude_reasons),
               CASE status WHEN 'failed' THEN error_code
                           WHEN 'excluded' THEN coalesce(reason_names.shown, 'not specified') END AS reason
        FROM (
            SELECT scored.*, label, {STATUS} AS status
            FROM {database.scored_studies(study_score)} AS scored JOIN labels USING (study)
        ) AS studies
        LEFT JOIN reason_names ON reason_names.own = list_min(exclude_reasons)
        """
    )


_REASON_NAMES = pa.schema([("own", pa.string()), ("shown", pa.string())])


def flow_rows(database: CohortDatabase) -> Iterator[Row]:
    """Planned → excluded, not scored, failed, without reference → analysed; each step whole and by reason."""
    for step, name in enumerate(_STEPS):
        condition = "true" if name == "planned" else f"status = '{name}'"
        counts = database.rows(f"SELECT {_COUNTS} FROM results WHERE {condition}")[0]
        yield {"step": step, "name": name, **counts}
        if name in ("excluded", "failed"):
            for row in database.rows(
                f"SELECT reason, {_COUNTS} FROM results WHERE {condition} GROUP BY reason ORDER BY reason"
            ):
                yield {"step": step, "name": name, **row}


def rater_flow_rows(units: Units, raters: Sequence[Rater]) -> Iterator[Row]:
    """For every reader and the majority: why studies have no call, and how many are compared with the reference."""
    for rater in raters:
        reason = np.where((rater.reason == 0) & np.isnan(units.truth), WITHOUT_REFERENCE, rater.reason)
        for code, name in enumerate(REASONS):
            rows = reason == code
            elsewhere = units.elsewhere.get(name, 0) if code else 0
            if code and not rows.any() and not elsewhere:
                continue
            yield {
                "step": _READERS_STEP + (len(REASONS) if code == 0 else code),
                "name": name or "analysed",
                "subject_kind": rater.kind,
                "subject": rater.name,
                "n_studies": int(rows.sum()) + elsewhere,
                "n_subjects": count_subjects(units.subject[rows]) if not elsewhere else None,
                "n_positive": int(np.sum(units.truth[rows] == 1)) if not elsewhere else None,
                "n_negative": int(np.sum(units.truth[rows] == 0)) if not elsewhere else None,
            }


def table_rows(n_unmatched: dict[str, int], notes: Sequence[str]) -> Iterator[Row]:
    """What the tables of reference, readers and covariates named and the inventory lacks, and what was left out."""
    for table, count in sorted(n_unmatched.items()):
        note = "study ids of this table that the inventory lacks; they are listed in the private tree"
        yield {"step": _TABLES_STEP, "name": "unmatched", "reason": table, "n_studies": count, "note": note}
    for note in notes:
        yield {"step": _TABLES_STEP + 1, "name": "left_out", "note": note}


def study_results(database: CohortDatabase, points: Sequence[OperatingPoint]) -> pa.RecordBatchReader:
    """The table `study_results`, streamed: one row a study and operating point, in the order of the tokens."""
    table = pa.table({"operating_point": [p.name for p in points], "threshold": [p.threshold for p in points]})
    database.register("operating_points", table)
    return database.stream(
        """
        SELECT study_id, subject_id, status, n_images, n_frames_ok, n_frames_failed, error_code, operating_point, score,
               CASE WHEN status IN ('analysed', 'without_reference')
                    THEN CASE WHEN score >= threshold THEN 'positive' ELSE 'negative' END END AS call,
               CAST(label AS TINYINT) AS reference_label, source_resolution, n_frames_flagged
        FROM results CROSS JOIN operating_points ORDER BY study, operating_point
        """
    )
