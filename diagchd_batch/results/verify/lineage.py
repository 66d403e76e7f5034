"""Proves that the runs of a lineage together give exactly one result for each frame that any of them planned."""

from diagchd_batch import output_layout
from diagchd_batch.config.fingerprint import current_fingerprint
from diagchd_batch.errors import UsageError
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.results.lineage import resolve_lineage
from diagchd_batch.results.output import Output
from diagchd_batch.results.query.database import QueryDatabase, open_query
from diagchd_batch.results.run_record import RunRecord
from diagchd_batch.results.verify.findings import REMEDIES, LineageReport, Problem, ProblemKind

_SHOWN = 5

_COUNTS = "SELECT (SELECT count(DISTINCT image_id) FROM plan) AS n_images, (SELECT count(*) FROM current) AS n_rows"
_WITHOUT_ROW = "SELECT DISTINCT image_id FROM plan ANTI JOIN current USING (image_id) ORDER BY image_id"
_UNPLANNED = "SELECT DISTINCT image_id FROM current ANTI JOIN plan USING (image_id) ORDER BY image_id"
_TWICE = """
SELECT DISTINCT image_id FROM (SELECT image_id, count(*) AS n, count(DISTINCT coalesce(frame, -1)) AS n_frames,
    bool_or(frame IS NULL) AS has_whole FROM current GROUP BY image_id) AS counted
WHERE n <> n_frames OR (has_whole AND n > 1) ORDER BY image_id
"""


def verify_lineage(output: Output, run_id: str) -> LineageReport:
    """Verify a lineage as a whole.

    Args:
        output: The output.
        run_id: The newest run of the lineage.

    Returns:
        The runs of the lineage, what was counted, and the problems that were found.

    Raises:
        RunFault: A table or a record cannot be read.
    """
    try:
        records = resolve_lineage(output.storage, run_id)
    except (UsageError, DamagedRecordError) as error:
        return LineageReport((run_id,), 0, 0, (_problem(ProblemKind.BROKEN_LINEAGE, f"run {run_id}", str(error)),))
    problems = [problem for record in records for problem in _of_run(output, record, records[-1])]
    database = open_query(output, {}, run_id)
    counts = database.table(_COUNTS).to_pylist()[0]
    for kind, sql, detail in (
        (ProblemKind.MISSING_IMAGE, _WITHOUT_ROW, "it is planned, but no row of it counts"),
        (ProblemKind.UNPLANNED_ROW, _UNPLANNED, "a row of it counts, but no plan has it"),
        (ProblemKind.DUPLICATE_ROW, _TWICE, "more than one row counts for a frame"),
    ):
        problems += _of_images(database, sql, kind, detail)
    return LineageReport(
        tuple(record.run_id for record in records), counts["n_images"], counts["n_rows"], tuple(problems)
    )


def _of_run(output: Output, record: RunRecord, newest: RunRecord) -> list[Problem]:
    place = f"run {record.run_id}"
    problems = []
    of_record, of_newest = (current_fingerprint(run.fingerprint, run.fingerprint_fields) for run in (record, newest))
    if of_record != of_newest:
        detail = "its fingerprint is not that of the runs that build on it: they score otherwise"
        problems.append(_problem(ProblemKind.BROKEN_LINEAGE, place, detail))
    if record is not newest and output.storage.stat(output_layout.success_marker(record.run_id)) is None:
        problems.append(_problem(ProblemKind.UNFINISHED, place, "others build on it, yet there is no _SUCCESS"))
    return problems


def _of_images(database: QueryDatabase, sql: str, kind: ProblemKind, detail: str) -> list[Problem]:
    image_ids = database.table(f"SELECT *, count(*) OVER () AS n FROM ({sql}) LIMIT {_SHOWN}").to_pylist()
    return [_problem(kind, f"image {row['image_id']}", f"{detail} (one of {row['n']:,})") for row in image_ids]


def _problem(kind: ProblemKind, place: str, detail: str) -> Problem:
    return Problem(kind, place, detail, REMEDIES[kind])
