"""The table `flow`, which says where studies drop out and why, and the table `study_results`."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from diagchd_batch.config.job_file import OperatingPoint
from diagchd_batch.evaluation.database import CohortDatabase
from diagchd_batch.evaluation.study_score import ScoreDefinition
from diagchd_batch.evaluation.tables.display_names import DisplayNames
from diagchd_batch.evaluation.tables.rows import Row
from diagchd_batch.evaluation.units_and_raters import (
    INDETERMINATE,
    NOT_EVALUABLE,
    REASONS,
    WITHOUT_REFERENCE,
    Rater,
    Units,
)
from diagchd_batch.statistics.inputs import count_subjects

_STATUS = (
    "CASE WHEN NOT included THEN 'excluded' WHEN n_frames_ok + n_frames_failed = 0 THEN 'not_scored' "
    "WHEN n_frames_ok = 0 THEN 'failed' WHEN n_frames_evaluable = 0 THEN '{not_evaluable}' "
    "WHEN label IS NULL THEN 'without_reference' ELSE 'analysed' END"
)
"""SQL: the first thing that keeps a study from the analysis, in the order of the flow.

A study of which no frame is evaluable is indeterminate, or excluded if the job file says so.
"""

_STEPS = ("planned", "excluded", "not_scored", "failed", "without_reference", "analysed")
_NOT_EVALUABLE = "not_evaluable"
_READERS_STEP = 10
_RATER_STEPS = {0: 9, NOT_EVALUABLE: INDETERMINATE}
"""The steps of rater_flow_rows, where they are not the reasons' own numbers. Analysed studies come last."""
_TABLES_STEP = 20
_COUNTS = (
    "count(*) AS n_studies, count(DISTINCT subject) AS n_subjects, count(*) FILTER (label = 1) AS n_positive, "
    "count(*) FILTER (label = 0) AS n_negative, "
    "CAST(coalesce(sum(n_frames_ok + n_frames_failed), 0) AS BIGINT) AS n_frames"
)


def create_results(
    database: CohortDatabase,
    names: DisplayNames,
    definition: ScoreDefinition,
    *,
    excludes_not_evaluable: bool = False,
) -> None:
    """Create the table `results`: the scored studies with label, status and, if excluded or failed, the reason.

    Args:
        database: A database with the tables `frames`, `planned` and `labels`.
        names: Gives the reasons to show.
        definition: How frames make a study's score.
        excludes_not_evaluable: Whether studies without an evaluable frame are excluded.
    """
    status = _STATUS.format(not_evaluable="excluded" if excludes_not_evaluable else _NOT_EVALUABLE)
    own = [row["reason"] for row in database.rows("SELECT DISTINCT unnest(exclude_reasons) AS reason FROM planned")]
    shown = names.numbered("reason", [reason for reason in own if reason])
    database.register("reason_names", pa.table({"own": list(shown), "shown": list(shown.values())}, _REASON_NAMES))
    database.execute(
        f"""
        CREATE TABLE results AS
        SELECT studies.* EXCLUDE (exclude_reasons),
               CASE status WHEN 'failed' THEN error_code
                           WHEN 'excluded' THEN CASE WHEN included THEN '{_NOT_EVALUABLE}'
                                                ELSE coalesce(reason_names.shown, 'not specified') END END AS reason
        FROM (
            SELECT scored.*, label, {status} AS status
            FROM {database.scored_studies(definition)} AS scored JOIN labels USING (study)
        ) AS studies
        LEFT JOIN reason_names ON reason_names.own = list_min(exclude_reasons)
        """
    )


_REASON_NAMES = pa.schema([("own", pa.string()), ("shown", pa.string())])


def flow_rows(database: CohortDatabase) -> Iterator[Row]:
    """Count the studies at each step from planned to analysed. Excluded and failed studies are also counted by reason.

    Args:
        database: A database with the table `results`.
    """
    for step, name in enumerate(_STEPS):
        condition = "true" if name == "planned" else f"status = '{name}'"
        counts = database.rows(f"SELECT {_COUNTS} FROM results WHERE {condition}")[0]
        yield {"step": step, "name": name, **counts}
        if name == "failed":
            lost = database.rows(f"SELECT {_COUNTS} FROM results WHERE status = '{_NOT_EVALUABLE}'")[0]
            if lost["n_studies"]:  # a step of its own only where there is a view check that found some
                yield {"step": step, "name": _NOT_EVALUABLE, **lost}
        if name in ("excluded", "failed"):
            for row in database.rows(
                f"SELECT reason, {_COUNTS} FROM results WHERE {condition} GROUP BY reason ORDER BY reason"
            ):
                yield {"step": step, "name": name, **row}


def rater_flow_rows(units: Units, raters: Sequence[Rater]) -> Iterator[Row]:
    """Count why studies have no call, and how many can be compared with the reference standard.

    Args:
        units: The studies.
        raters: The model, the readers or the majority over these studies.

    Yields:
        Rows of `flow`, one for each rater and reason.
    """
    for rater in raters:
        reason = np.where((rater.reason == 0) & np.isnan(units.truth), WITHOUT_REFERENCE, rater.reason)
        for code, name in enumerate(REASONS):
            rows = reason == code
            other_exclusions = units.other_exclusions.get(name, 0) if code else 0
            if code and not rows.any() and not other_exclusions:
                continue
            yield {
                "step": _READERS_STEP + _RATER_STEPS.get(code, code),
                "name": name or "analysed",
                "subject_kind": rater.kind,
                "subject": rater.name,
                "n_studies": int(rows.sum()) + other_exclusions,
                "n_subjects": count_subjects(units.subject[rows]) if not other_exclusions else None,
                "n_positive": int(np.sum(units.truth[rows] == 1)) if not other_exclusions else None,
                "n_negative": int(np.sum(units.truth[rows] == 0)) if not other_exclusions else None,
            }


def table_rows(n_unmatched: dict[str, int], notes: Sequence[str]) -> Iterator[Row]:
    """Count the study ids that the inventory lacks, and list what was left out.

    Args:
        n_unmatched: Number of study ids by table.
        notes: What was left out, and why.

    Yields:
        Rows of `flow`.
    """
    for table, count in sorted(n_unmatched.items()):
        note = "study ids of this table that the inventory lacks; they are listed in the private tree"
        yield {"step": _TABLES_STEP, "name": "unmatched", "reason": table, "n_studies": count, "note": note}
    for note in notes:
        yield {"step": _TABLES_STEP + 1, "name": "left_out", "note": note}


_POINTS = pa.schema(
    [
        ("operating_point", pa.string()),
        ("threshold", pa.float64()),
        ("study_score", pa.string()),
        ("image_score", pa.string()),
        ("top_k", pa.int64()),
    ]
)


def study_results(
    database: CohortDatabase, points: Sequence[OperatingPoint], definition: ScoreDefinition
) -> pa.RecordBatchReader:
    """Stream the table `study_results`: one row for each study and operating point, ordered by the studies' tokens.

    Args:
        database: A database with the table `results`.
        points: The operating points.
        definition: How frames made the studies' scores.

    Returns:
        Batches with schema `STUDY_RESULTS`.
    """
    rows = [{"operating_point": p.name, "threshold": p.threshold, **definition.columns} for p in points]
    database.register("operating_points", pa.Table.from_pylist(rows, _POINTS))
    return database.stream(
        """
        SELECT study_id, subject_id, status, n_images, n_frames_ok, n_frames_failed, error_code, operating_point, score,
               CASE WHEN status IN ('analysed', 'without_reference')
                    THEN CASE WHEN score >= threshold THEN 'positive' ELSE 'negative' END END AS call,
               CAST(label AS TINYINT) AS reference_label, source_resolution, n_frames_flagged,
               n_frames_evaluable, study_score, image_score, top_k
        FROM results CROSS JOIN operating_points ORDER BY study, operating_point
        """
    )
