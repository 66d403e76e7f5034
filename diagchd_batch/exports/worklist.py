"""`export worklist`: a run's studies under their own ids, by score, for the clinic. Identified."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from diagchd_batch.errors import UsageError
from diagchd_batch.exports.destinations import check_private
from diagchd_batch.exports.spreadsheets import to_csv
from diagchd_batch.results.output import Output
from diagchd_batch.results.query.database import QueryDatabase, open_query
from diagchd_batch.results.run_record import RunRecord
from diagchd_batch.storage import Storage

Row = dict[str, Any]

SCORED = "worklist.csv"
FAILED = "failed.csv"

_SCORED_COLUMNS = (
    "rank",
    "study_id",
    "subject_id",
    "fetus",
    "token",
    "chd_probability",
    "chd_call",
    "threshold",
    "frames_scored",
    "frames_called_chd",
    "frames_failed",
    "quality_flags",
)
_FAILED_COLUMNS = ("study_id", "subject_id", "fetus", "token", "error_codes", "frames_failed")

_STUDIES = """
WITH own AS (SELECT DISTINCT ON (study_id) study_id, source_study_id, source_subject_id, fetus FROM studies)
SELECT source_study_id AS study_id, source_subject_id AS subject_id, fetus, current.study_id AS token,
       {score} AS chd_probability,
       count(*) FILTER (status = 'ok') AS frames_scored,
       count(*) FILTER (chd_call) AS frames_called_chd,
       count(*) FILTER (status <> 'ok') AS frames_failed,
       array_to_string(list_sort(list_distinct(flatten(list(quality_flags)))), ' ') AS quality_flags,
       array_to_string(list_sort(list_distinct(list(error_code))), ' ') AS error_codes
FROM current LEFT JOIN own ON current.study_id = own.study_id
GROUP BY source_study_id, source_subject_id, fetus, current.study_id
HAVING {condition}
ORDER BY chd_probability DESC, source_study_id
"""
_SCORES = {
    "mean": "avg(CAST(chd_probability AS DOUBLE))",
    "max": "CAST(max(chd_probability) AS DOUBLE)",
    "median": "median(CAST(chd_probability AS DOUBLE))",
}


@dataclass(frozen=True)
class WorklistSummary:
    """What was written."""

    run_id: str
    n_scored: int
    n_called_chd: int
    n_failed: int


def export_worklist(output: Output, record: RunRecord, destination: Storage) -> WorklistSummary:
    """Writes `worklist.csv`, the highest score first, and `failed.csv`, the studies of which no frame has a score.

    Of a run that continues others, results of the whole lineage. Frames make a study's score as the job's
    `evaluation.study_score` says; the call is at the model card's threshold. Raises RunFault where the private tree,
    which knows the own ids, cannot be read; UsageError where the run has no predictions yet, or the destination is
    among the output's pseudonymised tables.
    """
    check_private(destination, output.storage, output.private)
    study_score = str(record.config.get("evaluation", {}).get("study_score", "mean"))
    database = open_query(output, {}, record.run_id)
    scored, failed = (
        _Counted(_studies(database, _STUDIES.format(score=_SCORES[study_score], condition=condition)))
        for condition in ("count(chd_probability) > 0", "count(chd_probability) = 0")
    )
    called = _Counted(_ranked(scored, record.model.chd_threshold), lambda row: row["chd_call"] == "positive")
    files = {SCORED: to_csv(called, _SCORED_COLUMNS), FAILED: to_csv(failed, _FAILED_COLUMNS)}
    if not scored.n and not failed.n:
        raise UsageError(f"run {record.run_id} has no predictions yet; they are derived when it ends: resume it")
    for name, data in files.items():
        destination.replace(name, data)
    return WorklistSummary(record.run_id, scored.n, called.n, failed.n)


def _studies(database: QueryDatabase, sql: str) -> Iterator[Row]:
    with database.rows(sql) as batches:
        for batch in batches:
            yield from batch.to_pylist()


def _ranked(rows: Iterable[Row], threshold: float) -> Iterator[Row]:
    """Equal scores share the better rank."""
    rank, last = 0, None
    for place, row in enumerate(rows, start=1):
        score = row["chd_probability"]
        rank = rank if score == last else place
        last = score
        call = "positive" if score >= threshold else "negative"
        yield {**row, "rank": rank, "chd_call": call, "threshold": threshold, "chd_probability": round(score, 6)}


class _Counted:
    """Rows as they pass by, none of them kept, and how many there were of those asked for."""

    def __init__(self, rows: Iterable[Row], counts: Callable[[Row], bool] = lambda row: True) -> None:
        self._rows, self._counts = rows, counts
        self.n = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.n += self._counts(row)
            yield row
