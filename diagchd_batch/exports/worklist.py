"""Writes `export worklist`: a run's studies under their own ids, sorted by score, for the clinic. Identified."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from diagchd_batch.errors import UsageError
from diagchd_batch.evaluation.study_score import ScoreDefinition
from diagchd_batch.exports.destinations import (
    ExportKind,
    check_outside_shareable_trees,
    check_private,
    write_export,
)
from diagchd_batch.exports.spreadsheets import to_csv, to_xlsx
from diagchd_batch.results.output import Output
from diagchd_batch.results.query.database import QueryDatabase, open_query
from diagchd_batch.results.run_record import RunRecord
from diagchd_batch.storage import Store

Row = dict[str, Any]

Format = Literal["csv", "xlsx"]
"""The formats of a worklist: CSV files, or workbooks of Excel."""

SCORED = "worklist"
FAILED = "failed"

_SCORED_COLUMNS = (
    "rank",
    "study_id",
    "subject_id",
    "fetus",
    "token",
    "chd_probability",
    "chd_call",
    "evaluable",
    "threshold",
    "frames_scored",
    "frames_called_chd",
    "frames_failed",
    "quality_flags",
)
_FAILED_COLUMNS = ("study_id", "subject_id", "fetus", "token", "error_codes", "frames_failed")

# As in the evaluation, the latest plan of the lineage that has a study says whose it is and whether it is excluded.
_STUDIES = """
WITH own AS (
    SELECT lineage, study_id, source_study_id, source_subject_id, fetus, n_images = 0 AS excluded FROM lineage_studies
),
scored AS ({scored})
SELECT source_study_id AS study_id, source_subject_id AS subject_id, fetus, current.study_id AS token,
       max(score) AS chd_probability,
       count(*) FILTER (status = 'ok') AS frames_scored,
       count(*) FILTER (chd_call) AS frames_called_chd,
       coalesce(bool_or(coalesce(evaluable, true)) FILTER (status = 'ok'), true) AS evaluable,
       count(*) FILTER (status <> 'ok') AS frames_failed,
       array_to_string(list_sort(list_distinct(flatten(list(quality_flags)))), ' ') AS quality_flags,
       array_to_string(list_sort(list_distinct(list(error_code))), ' ') AS error_codes
FROM current LEFT JOIN own USING (lineage, study_id) LEFT JOIN scored USING (lineage, study_id)
WHERE excluded IS NOT TRUE
GROUP BY source_study_id, source_subject_id, fetus, current.study_id
HAVING {condition}
ORDER BY evaluable DESC, chd_probability DESC, source_study_id
"""


@dataclass(frozen=True)
class WorklistSummary:
    """The numbers of studies that `export_worklist` wrote."""

    run_id: str
    n_scored: int
    n_called_chd: int
    n_failed: int


def export_worklist(
    output: Output, record: RunRecord, destination: Store, file_format: Format = "csv"
) -> WorklistSummary:
    """Write the studies of a run and of the runs that it continues to two files.

    `worklist` holds the scored studies, the highest score first. Studies without an evaluable frame come after all
    others; they have no rank, and their call is "not evaluable". `failed` holds the studies without a single
    scored frame. Studies that the latest plan excludes are in neither. A study's score and call are those of the
    evaluation, with the job's `evaluation.image_score` and `study_score` and the model card's threshold.

    Args:
        output: The output that holds the run, with its private tree.
        record: The run's record.
        destination: Where the files go. Earlier files of a worklist are replaced.
        file_format: The format and the ending of the files.

    Returns:
        How many studies were written.

    Raises:
        RunFault: A file of the run cannot be read.
        UsageError: The run has no predictions yet, a sheet of Excel cannot hold all studies, the private tree cannot
            be read, or the destination is among an output's pseudonymised tables, lies in a shareable export, or holds
            anything but an earlier worklist.
    """
    check_private(destination, output.storage, output.private)
    check_outside_shareable_trees(destination)
    definition = ScoreDefinition.of(record.config.get("evaluation", {}))
    database = open_query(output, {}, record.run_id)
    scored, failed = (
        _CountedRows(
            _studies(
                database,
                _STUDIES.format(scored=definition.current_studies_sql, condition=condition),
            )
        )
        for condition in ("count(score) > 0", "count(score) = 0")
    )
    called = _CountedRows(_ranked(scored, record.model.chd_threshold), lambda row: row["chd_call"] == "positive")
    files = {
        f"{SCORED}.{file_format}": _file(called, _SCORED_COLUMNS, file_format),
        f"{FAILED}.{file_format}": _file(failed, _FAILED_COLUMNS, file_format),
    }
    if not scored.n and not failed.n:
        raise UsageError(
            f"run {record.run_id} has no predictions of studies that are not excluded; predictions are written when a "
            "run ends, so resume this run with the command that started it"
        )
    write_export(destination, ExportKind.WORKLIST, files)
    return WorklistSummary(record.run_id, scored.n, called.n, failed.n)


def _file(rows: Iterable[Row], columns: Sequence[str], file_format: Format) -> bytes:
    return to_xlsx(rows, columns) if file_format == "xlsx" else to_csv(rows, columns, for_excel=True)


def _studies(database: QueryDatabase, sql: str) -> Iterator[Row]:
    with database.rows(sql) as batches:
        for batch in batches:
            yield from batch.to_pylist()


def _ranked(rows: Iterable[Row], threshold: float) -> Iterator[Row]:
    """Add rank, call and threshold to rows sorted by score. Equal scores share the better rank."""
    rank, last = 0, None
    for place, row in enumerate(rows, start=1):
        score = row["chd_probability"]
        rank = rank if score == last else place
        last = score
        call = "positive" if score >= threshold else "negative"
        judged = {"rank": rank, "chd_call": call, "evaluable": "yes"}
        if not row["evaluable"]:
            judged = {"rank": None, "chd_call": "not evaluable", "evaluable": "no"}
        yield {**row, **judged, "threshold": threshold, "chd_probability": round(score, 6)}


class _CountedRows:
    """Passes rows on and counts those that meet a condition, without keeping any."""

    def __init__(self, rows: Iterable[Row], condition: Callable[[Row], bool] = lambda row: True) -> None:
        self._rows, self._condition = rows, condition
        self.n = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.n += self._condition(row)
            yield row
